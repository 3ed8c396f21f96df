//! Tests of the passthrough.

use serde_json::{Value, json};

use super::POLICY;
use crate::policies::fixtures::{World, cluster, listener};
use crate::resource_set::ResourceSet;

const PASSTHROUGH: &str = "self_transparentproxy_passthrough_outbound_ipv4";

fn edited(default: Value) -> ResourceSet {
    let (set, faults) = World::new().policy(POLICY.kind, json!({ "default": default })).edited_by(POLICY);
    assert!(faults.0.is_empty(), "{faults:?}");
    set
}

fn chains(set: &ResourceSet) -> Vec<Value> {
    listener(set, PASSTHROUGH)["filterChains"].as_array().expect("chains").clone()
}

#[test]
fn all_and_no_policy_change_nothing() {
    let before = World::new().set;
    assert_eq!(World::new().edited_by(POLICY).0, before);
    assert_eq!(edited(json!({"passthroughMode": "All"})), before);
}

#[test]
fn none_and_nothing_matched_lead_to_no_cluster() {
    let before = World::new().set;
    for conf in [json!({"passthroughMode": "None"}), json!({"passthroughMode": "Matched"}), json!({})] {
        let set = edited(conf);
        assert!(!set.clusters.contains_key(PASSTHROUGH));
        assert_eq!(set.listeners, before.listeners);
    }
}

#[test]
fn tls_is_told_apart_by_server_name() {
    let set = edited(json!({"appendMatch": [
        {"type": "Domain", "value": "*.out.test", "port": 443, "protocol": "tls"}]}));
    let name = "meshpassthrough_tls_*.out.test_443";
    let [chain] = &chains(&set)[..] else { panic!("one chain") };
    let condition = json!({"destinationPort": 443, "serverNames": ["*.out.test"], "transportProtocol": "tls"});
    assert_eq!(chain["filterChainMatch"], condition);
    assert_eq!(chain["filters"][0]["typedConfig"]["cluster"], name);
    let cluster = cluster(&set, name);
    assert_eq!(cluster["type"], "ORIGINAL_DST");
    assert_eq!(cluster["altStatName"], "meshpassthrough_tls___out_test_443");
}

#[test]
fn requests_are_routed_by_host_and_others_are_answered() {
    let set = edited(json!({"appendMatch": [
        {"type": "Domain", "value": "*.out.test", "port": 80, "protocol": "http2"},
        {"type": "Domain", "value": "api.out.test", "port": 80, "protocol": "http2"}]}));
    let [chain] = &chains(&set)[..] else { panic!("one chain") };
    assert_eq!(chain["filterChainMatch"]["applicationProtocols"], json!(["http/1.1", "h2c"]));
    let hosts = &chain["filters"][0]["typedConfig"]["routeConfig"]["virtualHosts"];
    assert_eq!(hosts[0]["domains"], json!(["api.out.test", "api.out.test:80"]));
    assert_eq!(hosts[1]["domains"], json!(["*.out.test", "*.out.test:80"]));
    assert_eq!(hosts[2]["routes"][0]["directResponse"]["status"], 503);
    assert!(set.clusters["meshpassthrough_http2_api.out.test_80"].http_options.is_some());
}

#[test]
fn a_server_that_speaks_first_is_not_waited_for() {
    let set = edited(json!({"appendMatch": [
        {"type": "IP", "value": "10.9.0.1", "port": 3306, "protocol": "mysql"},
        {"type": "IP", "value": "10.9.0.1", "protocol": "tcp"}]}));
    let listener = listener(&set, PASSTHROUGH);
    let names: Vec<_> = listener["filterChains"].as_array().expect("chains").iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["meshpassthrough_tcp_10.9.0.1_3306", "meshpassthrough_tcp_10.9.0.1_*"]);
    let disabled = json!({"destinationPortRange": {"start": 3306, "end": 3307}});
    assert_eq!(listener["listenerFilters"][0].get("filterDisabled"), None);
    assert_eq!(listener["listenerFilters"][1]["filterDisabled"], disabled);
    assert_eq!(listener["listenerFilters"][2]["filterDisabled"], disabled);
}

#[test]
fn a_family_without_a_match_stays_closed() {
    let set = edited(json!({"appendMatch": [{"type": "IP", "value": "fd00::1", "port": 80}]}));
    assert_eq!(set.listeners, World::new().set.listeners);
    assert!(set.clusters.keys().all(|name| !name.starts_with("meshpassthrough")));
}
