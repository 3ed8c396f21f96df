//! Rules of inbounds.

use serde_json::{Value, json};

use crate::fixtures::{rules, timeout, web};

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
