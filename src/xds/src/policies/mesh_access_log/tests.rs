//! Tests of access logs.

use serde_json::{Value, json};

use super::POLICY;
use crate::policies::fixtures::{World, cluster, kri_of, listener};

fn file(plain: &str) -> Value {
    json!({"backends": [{"type": "File", "file": {"path": "/log", "format": {"type": "Plain", "plain": plain}}}]})
}

fn loggers(listener: &Value) -> Vec<Value> {
    listener["filterChains"][0]["filters"][0]["typedConfig"]["accessLog"].as_array().cloned().unwrap_or_default()
}

fn text(logger: &Value) -> &str {
    logger["typedConfig"]["logFormat"]["textFormatSource"]["inlineString"].as_str().expect("text")
}

#[test]
fn without_policy_nothing_is_logged() {
    let world = World::new();
    let before = world.set.clone();
    let (set, _) = world.edited_by(POLICY);
    assert_eq!(set, before);
}

#[test]
fn operators_of_kuma_are_replaced_and_envoys_stay() {
    let line = "%START_TIME% %KUMA_MESH% %KUMA_SOURCE_ADDRESS% %KUMA_SOURCE_SERVICE%->%KUMA_DESTINATION_SERVICE% %KUMA_ZONE% %KUMA_WORKLOAD% %KUMA_TRAFFIC_DIRECTION%";
    let to = json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": file(line)}]});
    let (set, _) = World::new().policy(POLICY.kind, to).edited_by(POLICY);
    let outbound = loggers(&listener(&set, &kri_of("api")));
    assert_eq!(text(&outbound[0]), "%START_TIME% m 10.0.0.1:0 shop->api east kri_wl_m_east__shop_ OUTBOUND\n");
    assert_eq!(outbound[0]["filter"]["metadataFilter"]["matchIfKeyNotFound"], true);
    let passthrough = loggers(&listener(&set, "self_transparentproxy_passthrough_outbound_ipv4"));
    assert!(text(&passthrough[0]).contains("shop->external"));
    let (set, _) = World::new().policy(POLICY.kind, json!({"rules": [{"default": file(line)}]})).edited_by(POLICY);
    let inbound = loggers(&listener(&set, "self_inbound_dp_80"));
    assert_eq!(text(&inbound[0]), "%START_TIME% m 10.0.0.1:0 unknown->shop east kri_wl_m_east__shop_ INBOUND\n");
    let named = loggers(&listener(&set, "self_inbound_dp_db"));
    assert!(text(&named[0]).contains("->kri_dp_m_east__web_db "));
}

#[test]
fn every_rule_of_an_inbound_logs_for_its_clients() {
    let client =
        json!({"spiffeID": {"type": "Prefix", "value": "spiffe://td/a"}, "sni": {"type": "Exact", "value": "x"}});
    let rules = json!({"rules": [{"default": file("all")}, {"matches": [client], "default": file("some")}]});
    let (set, _) = World::new().policy(POLICY.kind, rules).edited_by(POLICY);
    let inbound = listener(&set, "self_inbound_dp_80");
    let loggers = loggers(&inbound);
    assert_eq!(loggers.iter().map(text).collect::<Vec<_>>(), ["some\n", "all\n"]);
    assert_eq!(
        loggers[0]["filter"]["extensionFilter"]["typedConfig"]["expression"],
        "connection.uri_san_peer_certificate.startsWith(\"spiffe://td/a\") && connection.requested_server_name == \"x\""
    );
    assert!(loggers[1]["filter"].is_null());
    assert_eq!(inbound["listenerFilters"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_route_logs_for_itself() {
    let to = json!({"to": [
        {"targetRef": {"kind": "MeshService", "labels": {"kuma.io/display-name": "api"}}, "default": file("service")},
        {"targetRef": {"kind": "MeshHTTPRoute", "labels": {"kuma.io/display-name": "r"}}, "default": file("route")}]});
    let world = World::new().with(model::registry::MESH_HTTP_ROUTE, "r", json!({"to": []}));
    let (set, _) = world.policy(POLICY.kind, to).edited_by(POLICY);
    let api = listener(&set, &kri_of("api"));
    let loggers = loggers(&api);
    assert_eq!(loggers.iter().map(text).collect::<Vec<_>>(), ["service\n", "route\n"]);
    let kri = "kri_mhttpr_m___r_rule0";
    assert_eq!(loggers[1]["filter"]["metadataFilter"]["matcher"]["value"], json!({"stringMatch": {"exact": kri}}));
    let hcm = &api["filterChains"][0]["filters"][0]["typedConfig"];
    assert_eq!(hcm["httpFilters"][0]["name"], "envoy.filters.http.lua");
    let routes = &hcm["routeConfig"]["virtualHosts"][0]["routes"];
    assert_eq!(routes[0]["metadata"]["filterMetadata"], json!({"envoy.filters.http.lua": {"route_kri": kri}}));
    assert!(routes[1]["metadata"].is_null());
}

#[test]
fn tcp_backends_go_through_a_pipe_of_kuma_dp() {
    let format = json!({"type": "Json", "json": [{"key": "d", "value": "%DURATION%"}]});
    let to = |format: Value| {
        let backend = json!({"type": "Tcp", "tcp": {"address": "10.0.0.9:5000", "format": format}});
        json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": {"backends": [backend]}}]})
    };
    let (set, _) = World::new().policy(POLICY.kind, to(format)).edited_by(POLICY);
    let logger = &loggers(&listener(&set, &kri_of("store")))[0]["typedConfig"];
    assert_eq!(logger["path"], "/tmp/kuma-al-web-m.sock");
    assert_eq!(logger["logFormat"]["jsonFormat"], json!({"address": "10.0.0.9:5000", "message": {"d": "%DURATION%"}}));
    let (set, _) = World::new().policy(POLICY.kind, to(Value::Null)).edited_by(POLICY);
    let logger = &loggers(&listener(&set, &kri_of("store")))[0]["typedConfig"];
    let line = logger["logFormat"]["jsonFormat"]["message"].as_str().expect("a line");
    assert!(line.starts_with("[%START_TIME%] %RESPONSE_FLAGS% m 10.0.0.1(shop)->%UPSTREAM_HOST%(store)"), "{line}");
}

#[test]
fn collectors_get_a_cluster_and_unknown_ones_nothing() {
    let to = |name: &str| {
        let reference = json!({"kind": "MeshOpenTelemetryBackend", "labels": {"kuma.io/display-name": name}});
        let otel = json!({"backendRef": reference, "attributes": [{"key": "mesh", "value": "%KUMA_MESH%"}],
            "body": {"kvlistValue": {"values": [{"key": "m", "value": {"stringValue": "%KUMA_MESH%"}}]}}});
        json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": {"backends": [{"type": "OpenTelemetry", "openTelemetry": otel}]}}]})
    };
    let (set, _) = World::new().policy(POLICY.kind, to("collector")).edited_by(POLICY);
    let logger = loggers(&listener(&set, &kri_of("store")))[0]["typedConfig"].clone();
    let name = "system_meshaccesslog_otel_collector";
    assert_eq!(logger["grpcService"], json!({"envoyGrpc": {"clusterName": name}}));
    assert_eq!(logger["attributes"], json!({"values": [{"key": "mesh", "value": {"stringValue": "m"}}]}));
    assert_eq!(logger["body"], json!({"kvlistValue": {"values": [{"key": "m", "value": {"stringValue": "m"}}]}}));
    let endpoint = &cluster(&set, name)["loadAssignment"]["endpoints"][0]["lbEndpoints"][0]["endpoint"];
    assert_eq!(endpoint["address"], json!({"pipe": {"path": "/tmp/kuma-otel-collector.sock"}}));
    let (set, _) = World::new().policy(POLICY.kind, to("nobody")).edited_by(POLICY);
    assert!(loggers(&listener(&set, &kri_of("store"))).is_empty());
}
