//! Rules for destinations.

use std::sync::Arc;

use model::Kri;
use model::{Resource, registry};
use policy::{ResourceRule, Rules};
use serde_json::{Value, json};

use crate::fixtures::{resource, rules, service, timeout, web};

fn to(items: Value) -> Value {
    json!({ "to": items })
}

fn backend() -> Value {
    json!({"kind": "MeshService", "labels": {"kuma.io/display-name": "backend"}})
}

fn kri(text: &str) -> Kri {
    Kri::parse(text).expect("an identifier")
}

fn computed(rules: &Rules, text: &str) -> Option<Value> {
    rules.to.compute(&kri(text)).map(|rule| rule.conf.value().clone())
}

fn origins(rule: &ResourceRule) -> Vec<String> {
    rule.origin.iter().map(|origin| format!("{}#{}", origin.policy.display_name(), origin.rule_index)).collect()
}

fn of_backend(policies: &[Arc<Resource>]) -> Rules {
    rules(policies, &[service("backend", &[])], &web(&[]))
}

#[test]
fn the_mesh_comes_before_services_within_one_policy() {
    let spec = to(json!([
        {"targetRef": {"kind": "Mesh"}, "default": {"idle": "9s"}},
        {"targetRef": backend(), "default": {"connect": "11s"}},
        {"targetRef": {"kind": "Mesh"}, "default": {"connect": "21s"}}]));
    let rules = of_backend(&[timeout("mt", &[], spec)]);
    let keys: Vec<_> = rules.to.iter().map(|(kri, rule)| (kri.to_string(), origins(rule))).collect();
    assert_eq!(
        keys,
        [
            ("kri_m____m_".to_owned(), vec!["mt#0".to_owned(), "mt#2".to_owned()]),
            ("kri_msvc_m___backend_".to_owned(), vec!["mt#0".to_owned(), "mt#2".to_owned(), "mt#1".to_owned()]),
        ]
    );
    assert_eq!(computed(&rules, "kri_msvc_m___backend_http"), Some(json!({"idle": "9s", "connect": "11s"})));
    assert_eq!(computed(&rules, "kri_msvc_m___other_80"), Some(json!({"idle": "9s", "connect": "21s"})));
    assert_eq!(computed(&rules, "kri_mid_m___other_"), None);
}

#[test]
fn a_policys_rank_counts_before_what_its_items_name() {
    let policies = [
        timeout(
            "aaa",
            &["origin=global"],
            to(json!([{"targetRef": {"kind": "Mesh"}, "default": {"connect": "11s", "request": "12s"}}])),
        ),
        timeout(
            "bbb",
            &["origin=zone"],
            to(json!([{"targetRef": {"kind": "Mesh"}, "default": {"connect": "111s", "request": "112s"}}])),
        ),
        timeout(
            "ccc",
            &["origin=zone", "role=producer"],
            to(json!([{"targetRef": backend(), "default": {"connect": "211s", "request": "212s"}}])),
        ),
        timeout(
            "ddd",
            &["role=consumer", "ns=a"],
            json!({"targetRef": {"kind": "Dataplane"},
            "to": [{"targetRef": {"kind": "Mesh"}, "default": {"connect": "311s", "idle": "300s"}}]}),
        ),
    ];
    let rules = rules(&policies, &[service("backend", &[])], &web(&["ns=a"]));
    assert_eq!(
        computed(&rules, "kri_msvc_m___backend_"),
        Some(json!({"connect": "311s", "idle": "300s", "request": "212s"}))
    );
    assert_eq!(computed(&rules, "kri_m____m_"), Some(json!({"connect": "311s", "idle": "300s", "request": "112s"})));
}

#[test]
fn a_section_names_ports_by_their_name() {
    let spec = |section: &str| {
        to(
            json!([{"targetRef": {"kind": "MeshService", "labels": {"domain": "b"}, "sectionName": section}, "default": {"a": 1}}]),
        )
    };
    let services = [service("one", &["domain=b"]), service("two", &["domain=b"]), service("three", &[])];
    let named = |section: &str| {
        let rules = rules(&[timeout("t", &[], spec(section))], &services, &web(&[]));
        rules.to.iter().map(|(kri, _)| kri.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(named("http"), ["kri_msvc_m___one_http", "kri_msvc_m___two_http"]);
    assert_eq!(named("81"), ["kri_msvc_m___one_81", "kri_msvc_m___two_81"]);
    assert!(named("80").is_empty());
}

#[test]
fn a_route_shadows_the_service_that_it_is_attached_to() {
    let route = resource(registry::MESH_HTTP_ROUTE, "r1", &[], json!({}));
    let spec = to(json!([
        {"targetRef": {"kind": "Mesh"}, "default": {"connect": "10s", "request": "5s"}},
        {"targetRef": backend(), "default": {"idle": "30s", "request": "25s"}},
        {"targetRef": {"kind": "MeshHTTPRoute", "labels": {"kuma.io/display-name": "r1"}}, "default": {"request": "15s"}}]));
    let rules = rules(&[timeout("t", &[], spec)], &[service("backend", &[]), route], &web(&[]));
    let (route, origin) = (kri("kri_mhttpr_m___r1_rule_0"), kri("kri_msvc_m___backend_http"));
    let conf = |chain: &[&Kri]| rules.to.first_of(chain).map(|rule| rule.conf.value().clone());
    assert_eq!(conf(&[&route, &origin]), Some(json!({"connect": "10s", "request": "15s"})));
    assert_eq!(conf(&[&origin]), Some(json!({"connect": "10s", "idle": "30s", "request": "25s"})));
    assert_eq!(conf(&[&kri("kri_extsvc_m___x_")]), Some(json!({"connect": "10s", "request": "5s"})));
}

#[test]
fn a_rule_that_sets_nothing_is_passed_over_in_a_chain() {
    let spec = to(json!([{"targetRef": backend(), "default": {}}]));
    let rules = of_backend(&[timeout("t", &[], spec)]);
    assert!(rules.to.compute(&kri("kri_msvc_m___backend_http")).is_some());
    assert!(rules.to.first_of(&[&kri("kri_msvc_m___backend_http")]).is_none());
}

#[test]
fn a_producer_speaks_for_its_own_namespace() {
    let spec = to(json!([{"targetRef": backend(), "default": {"a": 1}}]));
    let services =
        [service("backend.a", &["display=backend", "ns=a"]), service("backend.b", &["display=backend", "ns=b"])];
    let named = |labels: &[&str]| {
        let rules = rules(&[timeout("t", labels, spec.clone())], &services, &web(&["ns=a"]));
        rules.to.iter().map(|(kri, _)| kri.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(named(&["role=producer", "ns=a"]), ["kri_msvc_m__a_backend_"]);
    assert_eq!(named(&["role=consumer", "ns=a"]), ["kri_msvc_m__a_backend_", "kri_msvc_m__b_backend_"]);
}

#[test]
fn each_route_rule_knows_the_policy_that_it_comes_from() {
    let route = |name: &str, paths: &[&str]| {
        let rules: Vec<_> = paths
            .iter()
            .map(|path| json!({"matches": [{"path": {"type": "PathPrefix", "value": path}}], "default": {}}))
            .collect();
        resource(registry::MESH_HTTP_ROUTE, name, &[], to(json!([{"targetRef": backend(), "rules": rules}])))
    };
    let rules = of_backend(&[route("a", &["/", "/a"]), route("b", &["/b", "/"])]);
    let rule = rules.to.compute(&kri("kri_msvc_m___backend_http")).expect("a rule");
    let by_slash = &rule.origin_by_matches["9Zuf5Tg79OuZcQITwBbQykxAk2u4fRKrwYn3//AL4Yo="];
    assert_eq!(by_slash.policy.display_name(), "a");
    assert_eq!(rule.origin_by_matches.len(), 3);
}
