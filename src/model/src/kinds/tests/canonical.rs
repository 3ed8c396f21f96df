//! Every typed kind decodes tolerantly and prints its canonical form.

use serde_json::{Value, json};

use crate::registry::{self, KINDS};

fn canonical(kind: &str, raw: Value) -> Value {
    let kind = registry::by_name(kind).expect("a registered kind");
    let spec = (kind.codec.decode)(raw).expect("decodes");
    let restored = (kind.codec.restore)(spec.json()).expect("what was stored is read again");
    assert_eq!(restored, spec);
    serde_json::from_str(spec.json()).expect("canonical text is JSON")
}

#[test]
fn what_the_go_side_always_emits_is_emitted() {
    for (kind, raw, expected) in [
        ("MeshService", json!({}), json!({"state": "Unavailable", "selector": {}})),
        ("MeshService", json!({"identities": null}), json!({"state": "Unavailable", "selector": {}})),
        ("Workload", json!({"left": "over"}), json!({})),
        ("HostnameGenerator", json!({"template": "t"}), json!({"selector": {}, "template": "t"})),
        ("MeshTimeout", json!({"rules": [{}]}), json!({"rules": [{"default": {}}]})),
        (
            "MeshTimeout",
            json!({"to": [{"targetRef": {"kind": "Mesh", "name": "gone"}, "default": {"idleTimeout": "90s"}}]}),
            json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "1m30s"}}]}),
        ),
        (
            "MeshTCPRoute",
            json!({"to": [{"targetRef": {"kind": "Odd"}, "rules": [{"default": {"backendRefs": [{"kind": "MeshService", "labels": {"a": "b"}}]}}]}]}),
            json!({"to": [{"targetRef": {"kind": "Odd"}, "rules": [{"default": {"backendRefs": [{"kind": "MeshService", "labels": {"a": "b"}, "weight": 1}]}}]}]}),
        ),
        ("Mesh", json!({"mtls": {"backends": []}, "skipCreatingInitialPolicies": null}), json!({})),
        ("Zone", json!({"enabled": false}), json!({"enabled": false})),
        ("Secret", json!({"data": "dGVzdA=="}), json!({"data": "dGVzdA=="})),
        (
            "Dataplane",
            json!({"networking": {"address": "10.0.0.1", "transparent_proxying": {"redirectPortInbound": "15006"},
                "inbound": [{"port": 80, "state": 0, "service_port": 8080, "health": {"ready": false}, "tags": {"a": "b"}}]}}),
            json!({"networking": {"inbound": [{"port": 80, "servicePort": 8080, "health": {}}],
                "transparentProxying": {"redirectPortInbound": 15006}, "address": "10.0.0.1"}}),
        ),
        (
            "DataplaneInsight",
            json!({"subscriptions": [{"id": "1", "connect_time": "2020-01-01T00:00:00.5Z", "status": {"total": {"responsesSent": "5"}}}],
                "metadata": {"x": null}}),
            json!({"subscriptions": [{"id": "1", "connectTime": "2020-01-01T00:00:00.500Z", "status": {"total": {"responsesSent": "5"}}}],
                "metadata": {"x": null}}),
        ),
    ] {
        assert_eq!(canonical(kind, raw), expected, "{kind}");
    }
}

#[test]
fn statuses_show_their_empty_parts() {
    for (kind, expected) in [
        ("MeshService", r#"{"tls":{},"dataplaneProxies":{}}"#),
        ("MeshExternalService", r#"{"vip":{}}"#),
        ("MeshMultiZoneService", "{}"),
        ("MeshIdentity", "{}"),
        ("MeshTrust", "{}"),
        ("Workload", r#"{"dataplaneProxies":{"connected":0,"healthy":0,"total":0}}"#),
    ] {
        let kind = registry::by_name(kind).expect("a registered kind");
        let status = (kind.codec.decode_status)(json!({})).expect("decodes");
        assert_eq!(status.json(), expected, "{kind}");
        assert_eq!((kind.codec.restore_status)(expected).expect("is read again"), status, "{kind}");
    }
}

#[test]
fn canonical_text_is_a_fixed_point() {
    for kind in KINDS {
        let Ok(spec) = (kind.codec.decode)(json!({})) else { continue };
        let again = (kind.codec.decode)(serde_json::from_str(spec.json()).expect("JSON")).expect("decodes");
        assert_eq!(spec, again, "{kind}");
        assert_eq!((kind.codec.restore)(spec.json()).expect("is read again"), spec, "{kind}");
    }
}
