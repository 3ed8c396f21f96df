//! Tests of timeouts.

use serde_json::{Value, json};

use super::POLICY;
use crate::policies::fixtures::{World, cluster, kri_of, listener};
use crate::resource_set::ResourceSet;

fn edited(specs: &[Value]) -> ResourceSet {
    let world = specs.iter().fold(World::new(), |world, spec| world.policy(POLICY.kind, spec.clone()));
    let world = world.with(model::registry::MESH_HTTP_ROUTE, "r", json!({"to": []}));
    world.edited_by(POLICY).0
}

fn common_options(cluster: &Value) -> Value {
    cluster["typedExtensionProtocolOptions"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
        ["commonHttpProtocolOptions"]
        .clone()
}

fn hcm(listener: &Value) -> Value {
    let filters = listener["filterChains"][0]["filters"].as_array().expect("filters");
    filters.iter().find(|f| f["name"] == "envoy.filters.network.http_connection_manager").expect("HTTP")["typedConfig"]
        .clone()
}

fn routes(listener: &Value) -> Vec<Value> {
    hcm(listener)["routeConfig"]["virtualHosts"][0]["routes"].as_array().expect("routes").clone()
}

/// Request and stream idle timeouts of the routes.
fn timeouts(listener: &Value) -> Vec<(Value, Value)> {
    routes(listener).iter().map(|r| (r["route"]["timeout"].clone(), r["route"]["idleTimeout"].clone())).collect()
}

#[test]
fn without_policy_the_defaults_hold_everywhere() {
    let set = edited(&[]);
    for name in ["self_inbound_dp_80", &kri_of("api")] {
        let cluster = cluster(&set, name);
        assert_eq!(cluster["connectTimeout"], "5s");
        assert_eq!(
            common_options(&cluster),
            json!({"idleTimeout": "3600s", "maxStreamDuration": "0s", "maxConnectionDuration": "0s"})
        );
        let listener = listener(&set, name);
        assert_eq!(hcm(&listener)["commonHttpProtocolOptions"], json!({"idleTimeout": "0s"}));
        assert_eq!(hcm(&listener)["requestHeadersTimeout"], "0s");
        assert!(timeouts(&listener).iter().all(|t| *t == (json!("15s"), json!("1800s"))));
    }
    for name in ["self_inbound_dp_db", &kri_of("store")] {
        assert_eq!(listener(&set, name)["filterChains"][0]["filters"][0]["typedConfig"]["idleTimeout"], "3600s");
        assert_eq!(cluster(&set, name)["connectTimeout"], "5s");
    }
}

#[test]
fn a_service_and_a_route_have_their_own() {
    let spec = json!({"to": [
        {"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "10s", "http": {"requestTimeout": "5s"}}},
        {"targetRef": {"kind": "MeshService", "labels": {"kuma.io/display-name": "api"}},
         "default": {"idleTimeout": "30s", "http": {"requestTimeout": "25s"}}},
        {"targetRef": {"kind": "MeshHTTPRoute", "labels": {"kuma.io/display-name": "r"}},
         "default": {"http": {"requestTimeout": "1m"}}}]});
    let set = edited(&[spec]);
    let api = cluster(&set, &kri_of("api"));
    assert_eq!((&api["connectTimeout"], &common_options(&api)["idleTimeout"]), (&json!("10s"), &json!("30s")));
    let api = timeouts(&listener(&set, &kri_of("api")));
    assert_eq!(api, [(json!("60s"), json!("1800s")), (json!("25s"), json!("1800s"))]);
    assert_eq!(timeouts(&listener(&set, "self_inbound_dp_80"))[0].0, "15s");
}

#[test]
fn rules_for_all_clients_replace_the_defaults_of_inbounds() {
    let spec = json!({"rules": [{"default": {"connectionTimeout": "10s", "idleTimeout": "2h",
        "http": {"requestTimeout": "0s", "streamIdleTimeout": "1h", "requestHeadersTimeout": "7s"}}}]});
    let set = edited(&[spec]);
    let cluster = cluster(&set, "self_inbound_dp_80");
    assert_eq!(
        (&cluster["connectTimeout"], &common_options(&cluster)["idleTimeout"]),
        (&json!("10s"), &json!("7200s"))
    );
    let inbound = listener(&set, "self_inbound_dp_80");
    assert_eq!(timeouts(&inbound), [(json!("0s"), json!("3600s"))]);
    assert_eq!(hcm(&inbound)["requestHeadersTimeout"], "7s");
}

fn client(ty: &str, value: &str) -> Value {
    json!({"spiffeID": {"type": ty, "value": value}})
}

#[test]
fn clients_have_routes_of_their_own_before_that_of_all() {
    let spec = json!({"rules": [
        {"default": {"http": {"requestTimeout": "5s", "streamIdleTimeout": "1s"}}},
        {"matches": [client("Exact", "spiffe://m/client")], "default": {"http": {"requestTimeout": "2s"}}},
        {"matches": [client("Prefix", "spiffe://m/")], "default": {"http": {"streamIdleTimeout": "4s"}}}]});
    let set = edited(&[spec]);
    let inbound = listener(&set, "self_inbound_dp_80");
    assert_eq!(
        timeouts(&inbound),
        [(json!("2s"), json!("4s")), (json!("5s"), json!("4s")), (json!("5s"), json!("1s"))]
    );
    let matched = |i: usize| routes(&inbound)[i]["match"]["filterState"].clone();
    let key = "kuma.mesh_timeout.match.spiffe_id";
    assert_eq!(matched(0), json!([{"key": key, "stringMatch": {"exact": "spiffe://m/client"}}]));
    assert_eq!(matched(1), json!([{"key": key, "stringMatch": {"prefix": "spiffe://m/"}}]));
    assert_eq!(matched(2), Value::Null);
    assert_eq!(
        inbound["filterChains"][0]["filters"][0],
        json!({"name": "envoy.filters.network.set_filter_state", "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config",
            "onDownstreamTlsHandshake": [{
                "objectKey": key, "factoryKey": "envoy.string", "readOnly": true, "skipIfEmpty": true,
                "formatString": {"textFormatSource": {"inlineString": "%DOWNSTREAM_PEER_URI_SAN%"}}}]}})
    );
}

#[test]
fn rules_for_particular_clients_alone_leave_the_base_values() {
    let spec = json!({"rules": [
        {"matches": [client("Exact", "spiffe://m/client")], "default": {"http": {"requestTimeout": "2s"}}}]});
    let set = edited(&[spec]);
    assert_eq!(cluster(&set, "self_inbound_dp_80")["connectTimeout"], "10s");
    assert_eq!(timeouts(&listener(&set, "self_inbound_dp_80"))[1].0, "0s");
}
