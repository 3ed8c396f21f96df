//! Which policies select a dataplane, and in which order.

use serde_json::json;

use crate::fixtures::{book, dataplane, rules, selecting, timeout, web};
use policy::Shadow;

#[test]
fn zone_and_namespace_bound_the_reach_of_a_policy() {
    let policies = [
        timeout("global", &["origin=global"], json!({})),
        timeout("system", &["origin=zone", "zone=z1", "role=system", "ns=kuma-system"], json!({})),
        timeout("producer", &["origin=zone", "zone=z1", "role=producer", "ns=ns-a"], json!({})),
        timeout("consumer", &["origin=zone", "zone=z1", "role=consumer", "ns=ns-a"], json!({})),
        timeout("owner", &["origin=zone", "zone=z1", "role=workload-owner", "ns=ns-a"], json!({})),
        timeout("homeless", &["origin=zone", "zone=z1", "role=consumer"], json!({})),
    ];
    let here = |labels: &[&str]| selecting(&policies, &web(labels));
    assert_eq!(here(&["origin=zone", "zone=z1", "ns=ns-a"]), ["global", "system", "producer", "consumer", "owner"]);
    assert_eq!(here(&["origin=zone", "zone=z1", "ns=ns-b"]), ["global", "system", "producer"]);
    assert_eq!(here(&["origin=zone", "zone=z2", "ns=ns-a"]), ["global", "producer"]);
    assert_eq!(here(&["origin=zone", "zone=z1"]), ["global", "system", "producer"]);
}

#[test]
fn labels_and_display_name_select_dataplanes() {
    let by = |labels| timeout("t", &[], json!({"targetRef": {"kind": "Dataplane", "labels": labels}}));
    let selected = |labels| !selecting(&[by(labels)], &web(&["app=web", "v=1"])).is_empty();
    assert!(selected(json!({})));
    assert!(selected(json!({"app": "web", "v": "1"})));
    assert!(selected(json!({"kuma.io/display-name": "web"})));
    assert!(!selected(json!({"app": "web", "v": "2"})));
}

#[test]
fn sections_are_names_and_numbers_only_of_unnamed_inbounds() {
    let on = |section: &str| {
        let spec =
            json!({"targetRef": {"kind": "Dataplane", "sectionName": section}, "rules": [{"default": {"a": 1}}]});
        let rules = rules(&[timeout("t", &[], spec)], &[], &web(&[]));
        rules.inbound.keys().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(on("80"), ["10.0.0.1:80"]);
    assert_eq!(on("admin"), ["10.0.0.1:81"]);
    assert!(on("81").is_empty());
    assert_eq!(on(""), ["10.0.0.1:80", "10.0.0.1:81"]);
}

#[test]
fn proxies_without_inbounds_are_selected() {
    let policies = [
        timeout("all", &[], json!({})),
        timeout("section", &[], json!({"targetRef": {"kind": "Dataplane", "sectionName": "80"}})),
    ];
    assert_eq!(selecting(&policies, &dataplane(&[], json!({"outbound": []}))), ["all"]);
    assert_eq!(selecting(&policies, &dataplane(&[], json!({"gateway": {"tags": {}}}))), ["all", "section"]);
}

#[test]
fn unknown_targets_select_nothing() {
    assert!(selecting(&[timeout("t", &[], json!({"targetRef": {"kind": "MeshSubset"}}))], &web(&[])).is_empty());
}

#[test]
fn the_order_is_target_section_origin_role_name() {
    let dataplane = json!({"targetRef": {"kind": "Dataplane"}});
    let section = json!({"targetRef": {"kind": "Dataplane", "sectionName": "80"}});
    let policies = [
        timeout("section", &["origin=global"], section),
        timeout("dataplane", &["origin=global"], dataplane),
        timeout("consumer", &["origin=zone", "role=consumer", "ns=a"], json!({})),
        timeout("producer", &["origin=zone", "role=producer", "ns=a"], json!({})),
        timeout("zone", &["origin=zone"], json!({})),
        timeout("unset", &[], json!({})),
        timeout("hash-1", &["origin=global", "display=aaa"], json!({})),
        timeout("hash-0", &["origin=global", "display=bbb"], json!({})),
    ];
    assert_eq!(
        selecting(&policies, &web(&["origin=zone", "ns=a"])),
        ["bbb", "aaa", "unset", "zone", "producer", "consumer", "dataplane", "section"]
    );
}

#[test]
fn the_order_does_not_depend_on_the_input() {
    let twins = |order: [&str; 2]| {
        let policies = order.map(|ns| timeout(&format!("t.{ns}"), &["display=t", &format!("ns={ns}")], json!({})));
        let rules = rules(&policies, &[], &web(&[]));
        rules.policies.iter().map(|policy| policy.kri.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(twins(["a", "b"]), twins(["b", "a"]));
}

#[test]
fn shadow_policies_take_part_only_when_asked_for() {
    let policies = [timeout("real", &[], json!({})), timeout("shadow", &["effect=shadow"], json!({}))];
    assert_eq!(selecting(&policies, &web(&[])), ["real"]);
    assert_eq!(book(&policies, &[]).rules(&web(&[]), Shadow::Included).policies.len(), 2);
}
