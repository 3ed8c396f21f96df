//! What is made once and shared.

use std::sync::Arc;

use policy::{PolicySet, Shadow};
use serde::Deserialize;
use serde_json::json;

use crate::fixtures::{book, service, timeout, web};

#[test]
fn dataplanes_that_the_same_policies_select_share_their_rules() {
    let policies = [
        timeout(
            "all",
            &[],
            json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": {"a": 1}}], "rules": [{"default": {"a": 1}}]}),
        ),
        timeout("v2", &[], json!({"targetRef": {"kind": "Dataplane", "labels": {"v": "2"}}})),
    ];
    let book = book(&policies, &[service("backend", &[])]);
    let one = book.rules(&web(&["v=1", "app=a"]), Shadow::Excluded);
    let same = book.rules(&web(&["v=1", "app=b"]), Shadow::Excluded);
    let other = book.rules(&web(&["v=2"]), Shadow::Excluded);
    assert!(Arc::ptr_eq(&one.to, &same.to));
    assert!(!Arc::ptr_eq(&one.to, &other.to));
    let inbounds: Vec<_> = one.inbound.values().chain(same.inbound.values()).collect();
    assert!(inbounds.iter().all(|rules| Arc::ptr_eq(rules, inbounds[0])));
}

#[test]
fn a_changed_policy_leaves_the_others_as_they_were_read() {
    let (a, b) = (timeout("a", &[], json!({})), timeout("b", &[], json!({})));
    let set = PolicySet::new(a.key.kind, [&a, &b]);
    let changed = timeout("b", &["origin=zone"], json!({}));
    let next = set.with(&changed.key, Some(&changed));
    assert_eq!(next.policies().len(), 2);
    assert!(Arc::ptr_eq(&next.policies()[0], &set.policies()[1]));
    assert!(Arc::ptr_eq(&next.policies()[1].resource, &changed));
    assert_eq!(next.with(&a.key, None).policies().len(), 1);
}

#[test]
fn a_policy_that_cannot_be_read_is_reported_and_the_others_work() {
    let (good, bad) = (timeout("good", &[], json!({})), timeout("bad", &[], json!({"to": 1})));
    let set = PolicySet::new(good.key.kind, [&good, &bad]);
    assert_eq!(set.policies().len(), 1);
    assert_eq!(set.faults()[0].key, bad.key);
}

#[derive(Debug, Deserialize, PartialEq)]
struct Typed {
    a: u32,
}

#[test]
fn a_conf_is_decoded_once() {
    let policies = [timeout("all", &[], json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": {"a": 1}}]}))];
    let rules = book(&policies, &[]).rules(&web(&[]), Shadow::Excluded);
    let (_, rule) = rules.to.iter().next().expect("a rule");
    let first = rule.conf.typed::<Typed>().expect("decodes");
    assert_eq!(*first, Typed { a: 1 });
    assert!(Arc::ptr_eq(&first, &rule.conf.typed::<Typed>().expect("decodes")));
    assert!(rule.conf.typed::<Vec<u32>>().is_err());
}
