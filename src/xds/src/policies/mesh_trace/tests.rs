//! Tests of traces.

use serde_json::{Value, json};

use super::POLICY;
use crate::policies::fixtures::{World, cluster, kri_of, listener};
use crate::resource_set::ResourceSet;

fn edited(default: Value) -> ResourceSet {
    World::new().policy(POLICY.kind, json!({ "default": default })).edited_by(POLICY).0
}

fn tracing(set: &ResourceSet, name: &str) -> Value {
    listener(set, name)["filterChains"][0]["filters"][0]["typedConfig"]["tracing"].clone()
}

#[test]
fn without_backend_nothing_is_traced() {
    assert_eq!(edited(json!({"backends": []})), World::new().set);
}

#[test]
fn datadog_can_tell_directions_apart() {
    let set = edited(
        json!({"backends": [{"type": "Datadog", "datadog": {"url": "http://dd.obs:8126", "splitService": true}}]}),
    );
    let service = |name: &str| tracing(&set, name)["provider"]["typedConfig"]["serviceName"].clone();
    assert_eq!(service("self_inbound_dp_80"), "shop_INBOUND");
    assert_eq!(service(&kri_of("api")), format!("shop_OUTBOUND_{}", kri_of("api")));
    assert!(tracing(&set, &kri_of("store")).is_null());
    let cluster = cluster(&set, "system_meshtrace_datadog_http---dd-obs-8126");
    assert_eq!(cluster["type"], "STRICT_DNS");
}

#[test]
fn tags_and_sampling_are_as_stated_and_kumas_own_follow() {
    let set = edited(json!({
        "backends": [{"type": "Zipkin", "zipkin": {"url": "https://z.obs/api/v2/spans", "apiVersion": "httpProto"}}],
        "sampling": {"overall": 10, "random": "50.5"},
        "tags": [{"name": "kuma.zone", "literal": "mine"}, {"name": "id", "header": {"name": "x-id", "default": "none"}}]}));
    let tracing = tracing(&set, "self_inbound_dp_80");
    assert_eq!(tracing["overallSampling"], json!({"value": 10}));
    assert_eq!((&tracing["randomSampling"], &tracing["clientSampling"]), (&json!({"value": 50.5}), &Value::Null));
    assert_eq!(
        tracing["customTags"],
        json!([{"tag": "kuma.zone", "literal": {"value": "mine"}},
            {"tag": "id", "requestHeader": {"name": "x-id", "defaultValue": "none"}},
            {"tag": "kuma.mesh", "literal": {"value": "m"}},
            {"tag": "kuma.workload", "literal": {"value": "kri_wl_m_east__shop_"}}])
    );
    let config = &tracing["provider"]["typedConfig"];
    assert_eq!(
        (&config["collectorEndpoint"], &config["collectorHostname"]),
        (&json!("/api/v2/spans"), &json!("z.obs"))
    );
    assert_eq!(config["collectorEndpointVersion"], "HTTP_PROTO");
    let name = "system_meshtrace_zipkin_https---z-obs-api-v2-spans";
    let cluster = cluster(&set, name);
    assert_eq!(cluster["transportSocket"]["typedConfig"]["sni"], "z.obs");
    assert_eq!(
        cluster["loadAssignment"]["endpoints"][0]["lbEndpoints"][0]["endpoint"]["address"]["socketAddress"]["portValue"],
        443
    );
}

#[test]
fn an_address_that_cannot_be_read_is_the_policys_fault_alone() {
    let spec = json!({"default": {"backends": [{"type": "Zipkin", "zipkin": {"url": "zipkin.obs/api"}}]}});
    let world = World::new();
    let before = world.set.clone();
    let (set, faults) = world.policy(POLICY.kind, spec).edited_by(POLICY);
    assert_eq!(set, before);
    assert_eq!(faults.0[0].message, "invalid URL of Zipkin: zipkin.obs/api");
}

#[test]
fn collectors_are_reached_through_kuma_dp() {
    let reference = json!({"kind": "MeshOpenTelemetryBackend", "labels": {"kuma.io/display-name": "collector"}});
    let set = edited(json!({"backends": [{"type": "OpenTelemetry", "openTelemetry": {"backendRef": reference}}]}));
    let name = "system_meshtrace_otel_collector";
    let config = &tracing(&set, "self_inbound_dp_80")["provider"]["typedConfig"];
    assert_eq!(config["grpcService"], json!({"envoyGrpc": {"clusterName": name}}));
    assert_eq!(config["serviceName"], "shop");
    assert!(set.clusters.contains_key(name));
}
