//! Tests of health checks.

use serde_json::{Value, json};

use super::POLICY;
use crate::policies::fixtures::{World, cluster, kri_of};

fn checks(default: Value) -> [Value; 2] {
    let spec = json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": default}]});
    let (set, _) = World::new().policy(POLICY.kind, spec).edited_by(POLICY);
    ["api", "store"].map(|name| cluster(&set, &kri_of(name))["healthChecks"].clone())
}

#[test]
fn without_policy_nothing_is_checked() {
    let (set, _) = World::new().edited_by(POLICY);
    assert!(cluster(&set, &kri_of("api"))["healthChecks"].is_null());
}

#[test]
fn each_protocol_has_its_checker() {
    let [api, store] = checks(json!({
        "interval": "10s", "http": {"path": "/health", "expectedStatuses": [200]}, "tcp": {"send": "hi", "receive": ["ok"]}}));
    let common = json!({"interval": "10s", "timeout": "15s", "unhealthyThreshold": 5, "healthyThreshold": 1});
    let with = |checker: Value| {
        let mut check = common.clone();
        check.as_object_mut().expect("object").extend(checker.as_object().expect("object").clone());
        json!([check])
    };
    let http = json!({"httpHealthCheck": {"path": "/health", "expectedStatuses": [{"start": "200", "end": "201"}],
        "requestHeadersToAdd": [{"header": {"key": "x-kuma-tags", "value": "&app=web&&kuma.io/workload=shop&&kuma.io/zone=east&"}}]}});
    assert_eq!(api, with(http));
    assert_eq!(store, with(json!({"tcpHealthCheck": {"send": {"text": "6869"}, "receive": [{"text": "6f6b"}]}})));
}

#[test]
fn http_falls_back_to_tcp_only_when_switched_off() {
    assert!(checks(json!({"tcp": {}}))[0].is_null());
    assert!(checks(json!({"tcp": {}, "http": {"disabled": true}}))[0][0]["tcpHealthCheck"].is_object());
    assert!(checks(json!({"tcp": {"disabled": true}, "http": {"disabled": true}}))[0].is_null());
}

#[test]
fn lists_of_values_become_headers_of_their_own() {
    let [api, _] = checks(
        json!({"http": {"requestHeadersToAdd": {"set": [{"name": "a", "value": "1,2"}], "add": [{"name": "b", "value": "3"}]}}}),
    );
    let headers = api[0]["httpHealthCheck"]["requestHeadersToAdd"].as_array().expect("headers").clone();
    let named: Vec<_> = headers.iter().map(|h| (h["header"]["key"].clone(), h["header"]["value"].clone())).collect();
    assert_eq!(named[1..], [(json!("b"), json!("3")), (json!("a"), json!("1")), (json!("a"), json!("2"))]);
    assert_eq!(headers[2]["appendAction"], "OVERWRITE_IF_EXISTS_OR_ADD");
}

#[test]
fn panic_can_stop_traffic() {
    let spec = json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": {"failTrafficOnPanic": true, "grpc": {}}}]});
    let (set, _) = World::new().policy(POLICY.kind, spec).edited_by(POLICY);
    assert_eq!(
        cluster(&set, &kri_of("api"))["commonLbConfig"],
        json!({"zoneAwareLbConfig": {"failTrafficOnPanic": true}})
    );
}
