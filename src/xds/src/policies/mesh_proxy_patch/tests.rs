//! Tests of patches.

use serde_json::{Value, json};

use super::POLICY;
use crate::policies::Faults;
use crate::policies::fixtures::{World, cluster, kri_of, listener};
use crate::resource_set::ResourceSet;

fn patched(modifications: Value) -> (ResourceSet, Faults) {
    let spec = json!({"default": {"appendModifications": modifications}});
    World::new().policy(POLICY.kind, spec).edited_by(POLICY)
}

#[test]
fn clusters_are_added_removed_and_merged() {
    let (set, faults) = patched(json!([
        {"cluster": {"operation": "Add", "value": "{name: extra, connect_timeout: 3s, type: STATIC}"}},
        {"cluster": {"operation": "Remove", "match": {"name": "self_inbound_dp_db"}}},
        {"cluster": {"operation": "Patch", "match": {"origin": "inbound"}, "value": "connectTimeout: 0.5s"}}]));
    assert_eq!(faults, Faults::default());
    assert_eq!(cluster(&set, "extra"), json!({"name": "extra", "connectTimeout": "3s", "type": "STATIC"}));
    assert!(!set.clusters.contains_key("self_inbound_dp_db"));
    let inbound = cluster(&set, "self_inbound_dp_80");
    assert_eq!(inbound["connectTimeout"], "0.500s");
    assert!(inbound["typedExtensionProtocolOptions"].is_object());
    assert_eq!(cluster(&set, &kri_of("api"))["connectTimeout"], Value::Null);
}

#[test]
fn json_patches_may_reach_what_is_not_there() {
    let (set, faults) = patched(json!([
        {"listener": {"operation": "Patch", "match": {"name": "inbound:passthrough:ipv4"}, "jsonPatches": [
            {"op": "add", "path": "/metadata/filterMetadata/a/b", "value": "c"},
            {"op": "remove", "path": "/nothing/here"},
            {"op": "replace", "path": "/filterChains/-1/filters/0/name", "value": "renamed"}]}}]));
    assert_eq!(faults, Faults::default());
    let passthrough = listener(&set, "self_transparentproxy_passthrough_inbound_ipv4");
    assert_eq!(passthrough["metadata"], json!({"filterMetadata": {"a": {"b": "c"}}}));
    assert_eq!(passthrough["filterChains"][0]["filters"][0]["name"], "renamed");
}

#[test]
fn filters_are_placed_and_merged_by_their_configuration() {
    let lua = "{name: envoy.filters.http.lua, typedConfig: {'@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, defaultSourceCode: {inlineString: x}}}";
    let tcp = "{typedConfig: {'@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, idleTimeout: 9s}}";
    let router = json!({"name": "envoy.filters.http.router", "listenerTags": {"app": "*"}});
    let (set, faults) = patched(json!([
        {"httpFilter": {"operation": "AddBefore", "match": router, "value": lua}},
        {"networkFilter": {"operation": "Patch", "match": {"name": "envoy.filters.network.tcp_proxy", "origin": "inbound"}, "value": tcp}}]));
    assert_eq!(faults, Faults::default());
    let names = |name: &str| {
        let filters = listener(&set, name)["filterChains"][0]["filters"][0]["typedConfig"]["httpFilters"].clone();
        filters.as_array().expect("filters").iter().map(|filter| filter["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names("self_inbound_dp_80"), ["envoy.filters.http.lua", "envoy.filters.http.router"]);
    assert_eq!(names(&kri_of("api")), ["envoy.filters.http.router"]);
    let tcp = &listener(&set, "self_inbound_dp_db")["filterChains"][0]["filters"][0]["typedConfig"];
    assert_eq!((&tcp["idleTimeout"], &tcp["cluster"]), (&json!("9s"), &json!("self_inbound_dp_db")));
}

#[test]
fn virtual_hosts_are_found_by_origin_and_name() {
    let (set, faults) = patched(json!([
        {"virtualHost": {"operation": "Patch", "match": {"origin": "inbound"}, "value": "retryPolicy: {retryOn: 5xx}"}},
        {"virtualHost": {"operation": "Add", "match": {"routeConfigurationName": "self_inbound_dp_80"}, "value": "{name: more, domains: [x]}"}}]));
    assert_eq!(faults, Faults::default());
    let hosts = |name: &str| {
        listener(&set, name)["filterChains"][0]["filters"][0]["typedConfig"]["routeConfig"]["virtualHosts"].clone()
    };
    let inbound = hosts("self_inbound_dp_80");
    assert_eq!((&inbound[0]["retryPolicy"]["retryOn"], &inbound[1]["name"]), (&json!("5xx"), &json!("more")));
    assert_eq!(hosts(&kri_of("api"))[0]["retryPolicy"], Value::Null);
}

#[test]
fn a_modification_that_fails_is_reported_and_the_next_applies() {
    let (set, faults) = patched(json!([
        {"cluster": {"operation": "Add", "value": "{name: a, colour: red}"}},
        {"cluster": {"operation": "Add", "value": "{name: b}"}}]));
    assert!(!set.clusters.contains_key("a") && set.clusters.contains_key("b"));
    assert!(faults.0[0].message.starts_with("could not apply 0 modification: "), "{faults:?}");
}
