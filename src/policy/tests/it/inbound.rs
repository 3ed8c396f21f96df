//! Rules of inbounds.

use std::sync::Arc;

use model::registry;
use serde_json::{Value, json};

use crate::fixtures::{book, resource, rules, timeout, web};

fn spiffe(ty: &str, value: &str) -> Value {
    json!({"spiffeID": {"type": ty, "value": value}})
}

#[test]
fn the_most_specific_match_comes_first() {
    let a = json!({"rules": [
        {"default": {"request": "10s"}},
        {"matches": [spiffe("Prefix", "spiffe://td/ns/a")], "default": {"request": "5s"}}]});
    let b = json!({"targetRef": {"kind": "Dataplane"}, "rules": [
        {"matches": [spiffe("Exact", "spiffe://td/ns/a/sa/x"), {"sni": {"type": "Exact", "value": "x"}}], "default": {"stream": "3s"}},
        {"default": {"idle": "1h"}}]});
    let policies = [timeout("aaa", &[], a), timeout("bbb", &[], b)];
    let rules = rules(&policies, &[], &web(&[]));
    let inbound = rules.inbound("10.0.0.1", 80).expect("rules");
    let order: Vec<_> = inbound
        .rules
        .iter()
        .map(|rule| format!("{}#{}", rule.origin.policy.display_name(), rule.origin.rule_index))
        .collect();
    assert_eq!(order, ["bbb#0", "aaa#1", "bbb#0", "aaa#0", "bbb#1"]);
    assert_eq!(inbound.catch_all.value(), &json!({"request": "10s", "idle": "1h"}));
}

#[test]
fn a_server_name_breaks_ties_between_identities() {
    let both = json!({"spiffeID": {"type": "Prefix", "value": "spiffe://td"}, "sni": {"type": "Exact", "value": "x"}});
    let spec = json!({"rules": [
        {"matches": [{"sni": {"type": "Exact", "value": "x"}}], "default": {"n": 2}},
        {"matches": [spiffe("Prefix", "spiffe://td")], "default": {"n": 1}},
        {"matches": [both], "default": {"n": 0}}]});
    let rules = rules(&[timeout("t", &[], spec)], &[], &web(&[]));
    let inbound = rules.inbound("10.0.0.1", 80).expect("rules");
    let order: Vec<_> = inbound.rules.iter().map(|rule| rule.conf.value()["n"].clone()).collect();
    assert_eq!(order, [json!(0), json!(1), json!(2)]);
}

#[test]
fn a_permission_that_cannot_be_read_goes_on_selecting_and_others_do_not() {
    let broken = json!({"targetRef": {"kind": "Dataplane", "labels": {"app": "web"}}, "rules": "all"});
    let permission = resource(registry::MESH_TRAFFIC_PERMISSION, "mtp", &[], broken.clone());
    let selected = rules(&[Arc::clone(&permission)], &[], &web(&["app=web"]));
    let rule = &selected.inbound("10.0.0.1", 80).expect("rules").rules[0];
    assert!(rule.matched.is_none());
    assert!(rule.conf.typed::<Vec<u8>>().is_err(), "nobody can read it");
    assert!(rules(&[Arc::clone(&permission)], &[], &web(&["app=db"])).inbound.is_empty());
    assert_eq!(book(&[permission], &[]).faults().len(), 1);

    let nowhere = resource(registry::MESH_TRAFFIC_PERMISSION, "mtp", &[], json!({"targetRef": 1, "rules": []}));
    assert_eq!(rules(&[nowhere], &[], &web(&["app=db"])).inbound.len(), 2, "it could mean anyone");

    let timeout = timeout("t", &[], broken);
    assert!(rules(&[timeout], &[], &web(&["app=web"])).inbound.is_empty());
}
