//! Tests of TLS of inbounds.

use serde_json::{Value, json};

use super::POLICY;
use crate::policies::fixtures::{World, cluster, kri_of, listener};

fn rules(default: Value) -> Value {
    json!({"rules": [{"default": default}]})
}

/// Match and TLS context of each chain of an inbound.
fn chains(listener: &Value) -> Vec<(Value, Value)> {
    let chains = listener["filterChains"].as_array().expect("chains");
    chains.iter().map(|c| (c["filterChainMatch"].clone(), c["transportSocket"]["typedConfig"].clone())).collect()
}

#[test]
fn without_policy_inbounds_take_mtls_only() {
    let (set, _) = World::new().edited_by(POLICY);
    for name in ["self_inbound_dp_80", "self_inbound_dp_db"] {
        let listener = listener(&set, name);
        let [(matched, context)] = chains(&listener).try_into().expect("one chain");
        assert_eq!(matched, Value::Null);
        assert_eq!(context["requireClientCertificate"], true);
        assert_eq!(
            context["commonTlsContext"]["combinedValidationContext"]["defaultValidationContext"]["matchTypedSubjectAltNames"],
            json!([{"sanType": "URI", "matcher": {"prefix": "spiffe://td.local/"}}])
        );
        assert_eq!(listener["listenerFilters"], Value::Null);
    }
}

#[test]
fn permissive_inbounds_take_plaintext_and_the_applications_tls() {
    let (set, _) = World::new().policy(POLICY.kind, rules(json!({"mode": "Permissive"}))).edited_by(POLICY);
    let listener = listener(&set, "self_inbound_dp_db");
    let chains = chains(&listener);
    let matches: Vec<_> = chains.iter().map(|(matched, _)| matched.clone()).collect();
    assert_eq!(
        matches,
        [
            json!({"transportProtocol": "raw_buffer"}),
            json!({"transportProtocol": "tls"}),
            json!({"transportProtocol": "tls", "applicationProtocols": ["kuma"]})
        ]
    );
    assert_eq!(chains.iter().filter(|(_, context)| context.is_null()).count(), 2);
    assert_eq!(chains[2].1["requireClientCertificate"], true);
    assert_eq!(listener["listenerFilters"][0]["name"], "envoy.filters.listener.tls_inspector");
}

#[test]
fn what_cannot_be_read_is_strict() {
    let unknown = rules(json!({"mode": "Relaxed"}));
    let (set, _) = World::new().policy(POLICY.kind, unknown).edited_by(POLICY);
    assert_eq!(chains(&listener(&set, "self_inbound_dp_80")).len(), 1);
}

#[test]
fn one_strict_inbound_keeps_the_passthrough_closed() {
    let ports = |policies: Vec<Value>| {
        let world = policies.into_iter().fold(World::new(), |world, spec| world.policy(POLICY.kind, spec));
        let passthrough = listener(&world.edited_by(POLICY).0, "self_transparentproxy_passthrough_inbound_ipv4");
        let chains = passthrough["filterChains"].as_array().expect("chains").clone();
        chains.iter().map(|chain| chain["filterChainMatch"]["destinationPort"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ports(vec![]), [json!(80), json!(81)]);
    assert_eq!(ports(vec![rules(json!({"mode": "Permissive"}))]), [Value::Null]);
    let last = json!({"targetRef": {"kind": "Dataplane", "sectionName": "db"}, "rules": [{"default": {"mode": "Permissive"}}]});
    assert_eq!(ports(vec![last]), [json!(80), json!(81)]);
}

#[test]
fn versions_and_ciphers_reach_both_sides() {
    let conf = json!({"tlsVersion": {"min": "TLS12", "max": "TLS13"}, "tlsCiphers": ["ECDHE-RSA-AES128-GCM-SHA256"]});
    let (set, _) = World::new().policy(POLICY.kind, rules(conf)).edited_by(POLICY);
    let expected = json!({"tlsMinimumProtocolVersion": "TLSv1_2", "tlsMaximumProtocolVersion": "TLSv1_3",
        "cipherSuites": ["ECDHE-RSA-AES128-GCM-SHA256"]});
    assert_eq!(chains(&listener(&set, "self_inbound_dp_80"))[0].1["commonTlsContext"]["tlsParams"], expected);
    let upstream = &cluster(&set, &kri_of("api"))["transportSocket"]["typedConfig"];
    assert_eq!(upstream["commonTlsContext"]["tlsParams"], expected);
}

#[test]
fn a_proxy_without_identity_is_left_alone() {
    let before = World::new().plaintext();
    let set = before.set.clone();
    assert_eq!(before.policy(POLICY.kind, rules(json!({"mode": "Strict"}))).edited_by(POLICY).0, set);
}
