//! Tests of metrics.

use serde_json::{Value, json};

use super::POLICY;
use crate::policies::fixtures::{World, cluster, listener};

fn edited(default: Value) -> crate::resource_set::ResourceSet {
    World::new().policy(POLICY.kind, json!({ "default": default })).edited_by(POLICY).0
}

fn document(set: &crate::resource_set::ResourceSet) -> String {
    let listener = listener(set, "system_dynamicconfig");
    let routes = &listener["filterChains"][0]["filters"][0]["typedConfig"]["routeConfig"]["virtualHosts"][0]["routes"];
    assert_eq!(routes[1]["match"], json!({"path": "/meshmetric"}));
    routes[1]["directResponse"]["body"]["inlineString"].as_str().expect("a body").to_owned()
}

#[test]
fn without_backends_nothing_is_added() {
    let before = World::new().set;
    assert_eq!(World::new().edited_by(POLICY).0, before);
    assert_eq!(edited(json!({"applications": [{"port": 80}]})), before);
}

#[test]
fn prometheus_reads_through_a_listener_of_its_own() {
    let set = edited(
        json!({"backends": [{"type": "Prometheus", "prometheus": {"clientId": "My.Client", "path": "/m", "port": 1234}}]}),
    );
    let name = "system_meshmetric_prometheus_-y--lient";
    let listener = listener(&set, name);
    assert_eq!(listener["address"]["socketAddress"], json!({"address": "10.0.0.1", "portValue": 1234}));
    let host = &listener["filterChains"][0]["filters"][0]["typedConfig"]["routeConfig"]["virtualHosts"][0];
    assert_eq!(
        host["routes"],
        json!([{"match": {"prefix": "/m"}, "route": {"cluster": name, "prefixRewrite": "/meshmetric"}}])
    );
    let endpoint = &cluster(&set, name)["loadAssignment"]["endpoints"][0]["lbEndpoints"][0]["endpoint"];
    assert_eq!(endpoint["address"], json!({"pipe": {"path": "/tmp/kuma-mh-web-m.sock"}}));
}

#[test]
fn the_document_says_what_to_gather() {
    let set = edited(json!({
        "sidecar": {"includeUnused": true, "profiles": {"appendProfiles": [{"name": "All"}]}},
        "applications": [{"name": "app", "port": 8080}],
        "backends": [{"type": "Prometheus", "prometheus": {}}]}));
    assert_eq!(
        document(&set),
        r#"{"observability":{"metrics":{"applications":[{"name":"app","path":"/metrics","port":8080,"address":""}],"backends":[{"type":"Prometheus","name":null}],"sidecar":{"profiles":{"appendProfiles":[{"name":"All"}]},"includeUnused":true},"extraLabels":{"kuma.proxy_role":"sidecar","kuma.workload":"shop","mesh":"m","zone":"east"}}}}"#
    );
}

#[test]
fn kuma_dp_passes_telemetry_on_where_it_can() {
    let reference = json!({"kind": "MeshOpenTelemetryBackend", "labels": {"kuma.io/display-name": "collector"}});
    let set = edited(json!({"backends": [{"type": "OpenTelemetry", "openTelemetry": {"backendRef": reference}}]}));
    assert!(document(&set).contains(r#""backends":null"#));
    assert!(!set.clusters.contains_key("system_meshmetric_otel_collector"));
}
