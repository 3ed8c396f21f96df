//! Tests of retries.

use serde_json::{Value, json};

use super::POLICY;
use super::conf::{Grpc, Http};
use super::retry_policy;
use crate::json::to_json;
use crate::policies::fixtures::{World, kri_of, listener};
use crate::resource_set::ResourceSet;

fn routes(set: &ResourceSet) -> Vec<Value> {
    let api = listener(set, &kri_of("api"));
    let config = &api["filterChains"][0]["filters"][0]["typedConfig"]["routeConfig"];
    let routes = config["virtualHosts"][0]["routes"].as_array().expect("routes").clone();
    routes.iter().map(|route| route["route"]["retryPolicy"].clone()).collect()
}

fn edited(to: Value) -> ResourceSet {
    let world = World::new().with(model::registry::MESH_HTTP_ROUTE, "r", json!({"to": []}));
    world.policy(POLICY.kind, json!({ "to": to })).edited_by(POLICY).0
}

fn http(conf: Value) -> Value {
    let conf: Http = serde_json::from_value(conf).expect("a conf");
    retry_policy::http(&conf).map_or(Value::Null, |policy| to_json(&policy).expect("JSON"))
}

#[test]
fn without_policy_nothing_is_tried_again() {
    assert_eq!(routes(&World::new().edited_by(POLICY).0), [Value::Null, Value::Null]);
}

#[test]
fn every_protocol_has_its_own_block() {
    let set = edited(json!([{"targetRef": {"kind": "Mesh"}, "default": {
        "tcp": {"maxConnectAttempt": 5},
        "http": {"numRetries": 5, "perTryTimeout": "16s", "backOff": {"baseInterval": "25ms", "maxInterval": "250ms"}}}}]));
    let expected = json!({"retryOn": "gateway-error,connect-failure,refused-stream", "numRetries": 5,
        "perTryTimeout": "16s", "retryBackOff": {"baseInterval": "0.025s", "maxInterval": "0.250s"}});
    assert_eq!(routes(&set), [expected.clone(), expected]);
    let store = listener(&set, &kri_of("store"));
    assert_eq!(store["filterChains"][0]["filters"][0]["typedConfig"]["maxConnectAttempts"], 5);
}

#[test]
fn a_route_can_switch_retries_off() {
    let set = edited(json!([
        {"targetRef": {"kind": "MeshService", "labels": {"kuma.io/display-name": "api"}}, "default": {"http": {"numRetries": 3}}},
        {"targetRef": {"kind": "MeshHTTPRoute", "labels": {"kuma.io/display-name": "r"}}, "default": {"http": {"numRetries": 0}}}]));
    let routes = routes(&set);
    assert_eq!((&routes[0], &routes[1]["numRetries"]), (&Value::Null, &json!(3)));
}

#[test]
fn conditions_are_names_methods_and_statuses() {
    assert_eq!(
        http(json!({"retryOn": ["5xx", "GatewayError", "HttpMethodGet", "429", "952"]})),
        json!({"retryOn": "5xx,gateway-error,retriable-status-codes", "retriableStatusCodes": [429],
            "retriableRequestHeaders": [{"name": ":method", "stringMatch": {"exact": "GET"}}]})
    );
    assert_eq!(
        http(json!({"retryOn": ["503"]}))["retryOn"],
        "gateway-error,connect-failure,refused-stream,retriable-status-codes"
    );
    let grpc: Grpc = serde_json::from_value(json!({"retryOn": ["Canceled", "Internal"]})).expect("a conf");
    assert_eq!(retry_policy::grpc(&grpc).map(|policy| policy.retry_on).as_deref(), Some("cancelled,internal"));
}

#[test]
fn hosts_and_back_offs_are_chosen_as_stated() {
    let policy = http(json!({
        "backOff": {},
        "rateLimitedBackOff": {"maxInterval": "5s", "resetHeaders": [{"name": "x", "format": "UnixTimestamp"}]},
        "hostSelection": [
            {"predicate": "OmitPreviousHosts"},
            {"predicate": "OmitHostsWithTags", "tags": {"kuma.io/service": "a", "v": "1"}},
            {"predicate": "OmitPreviousPriorities"}],
        "hostSelectionMaxAttempts": 2}));
    assert_eq!(policy["retryBackOff"], json!({"baseInterval": "0.025s"}));
    assert_eq!(
        policy["rateLimitedRetryBackOff"],
        json!({"resetHeaders": [{"name": "x", "format": "UNIX_TIMESTAMP"}], "maxInterval": "5s"})
    );
    assert_eq!(policy["hostSelectionRetryMaxAttempts"], "2");
    assert_eq!(policy["retryPriority"]["typedConfig"]["updateFrequency"], 2);
    assert_eq!(
        policy["retryHostPredicate"][1]["typedConfig"]["metadataMatch"],
        json!({"filterMetadata": {"envoy.lb": {"v": "1"}}})
    );
}
