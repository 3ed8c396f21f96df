//! Tests of the plan.

use model::{Kind, registry};
use serde_json::{Value, json};

use crate::bootstrap::OtelEnvInventory;
use crate::policies::fixtures::{World, listener};
use crate::resource_set::ResourceSet;

fn collector() -> Value {
    json!({"backendRef": {"kind": "MeshOpenTelemetryBackend", "labels": {"kuma.io/display-name": "collector"}}})
}

fn backends(extra: Value) -> Value {
    let mut export = collector();
    if let (Some(export), Value::Object(extra)) = (export.as_object_mut(), extra) {
        export.extend(extra);
    }
    json!({"backends": [{"type": "OpenTelemetry", "openTelemetry": export}]})
}

fn document(set: &ResourceSet) -> Value {
    let listener = listener(set, "system_dynamicconfig");
    let routes = &listener["filterChains"][0]["filters"][0]["typedConfig"]["routeConfig"]["virtualHosts"][0]["routes"];
    let route = routes.as_array().expect("routes").iter().find(|route| route["name"] == "system_dynamicconfig_otel");
    let body = &route.expect("a route")["directResponse"]["body"]["inlineString"];
    serde_json::from_str(body.as_str().expect("text")).expect("JSON")
}

fn with(kind: Kind, spec: Value) -> World {
    World::new().policy(kind, spec)
}

#[test]
fn without_a_collector_there_is_no_document() {
    let set = with(registry::MESH_TRACE, json!({"default": {"backends": []}})).planned();
    assert!(!set.listeners.contains_key("system_dynamicconfig"));
}

#[test]
fn every_signal_of_a_collector_goes_through_one_socket() {
    let set = with(registry::MESH_TRACE, json!({"default": backends(json!({}))}))
        .policy(registry::MESH_METRIC, json!({"default": backends(json!({"refreshInterval": "10s"}))}))
        .policy(
            registry::MESH_ACCESS_LOG,
            json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": backends(json!({}))}]}),
        )
        .planned();
    let expected = json!({"backends": [{
        "name": "collector", "socketPath": "/tmp/kuma-otel-collector.sock", "endpoint": "otel.obs:4317",
        "useHTTP": false,
        "traces": {"enabled": true}, "logs": {"enabled": true},
        "metrics": {"enabled": true, "refreshInterval": "10s"},
    }]});
    assert_eq!(document(&set), expected);
}

fn plan(inventory: Value, env: Value) -> super::SignalPlan {
    let inventory: OtelEnvInventory = serde_json::from_value(inventory).expect("an inventory");
    let policy = super::EnvPolicy::of(&serde_json::from_value(env).expect("a policy"));
    super::SignalPlan::of(super::Signal::Traces, &inventory, Some(&policy), false)
}

#[test]
fn the_environment_counts_as_far_as_the_backend_lets_it() {
    let shared = json!({"shared": {"endpointPresent": true}});
    let overriding = json!({"traces": {"endpointPresent": true, "overrideKinds": ["endpoint"]}});
    let broken = json!({"shared": {"clientKeyPresent": true}, "validationErrors": ["shared.mtls", "logs.timeout"]});
    let cases: [(&Value, Value, &[&str]); 6] = [
        (&shared, json!({}), &[]),
        (&shared, json!({"mode": "Disabled"}), &["EnvDisabledByPolicy"]),
        (&json!({}), json!({"mode": "Required"}), &["RequiredEnvMissing"]),
        (&overriding, json!({"allowSignalOverrides": false}), &["SignalOverridesDisallowed"]),
        (&overriding, json!({}), &[]),
        (&broken, json!({"mode": "Required"}), &["RequiredEnvMissing"]),
    ];
    for (inventory, env, reasons) in cases {
        assert_eq!(plan(inventory.clone(), env.clone()).blocked_reasons, reasons, "{inventory} {env}");
    }
    assert_eq!(plan(broken, json!({"mode": "Required"})).missing_fields, ["client_certificate", "client_key"]);
}
