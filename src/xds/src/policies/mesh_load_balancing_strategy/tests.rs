//! Tests of load balancing.

use std::sync::Arc;

use serde_json::{Value, json};

use super::POLICY;
use crate::policies::fixtures::{World, cluster, kri_of, listener, load_assignment};
use crate::resource_set::ResourceSet;

fn for_api(default: Value) -> ResourceSet {
    let target = json!({"kind": "MeshService", "labels": {"kuma.io/display-name": "api"}});
    let spec = json!({"to": [{"targetRef": target, "default": default}]});
    World::new().policy(POLICY.kind, spec).edited_by(POLICY).0
}

/// Zone, sub-zone, priority, weight and number of endpoints of each group.
fn groups(set: &ResourceSet, name: &str) -> Vec<(String, String, u64, u64, usize)> {
    let assignment = load_assignment(set, &kri_of(name));
    let groups = assignment["endpoints"].as_array().cloned().unwrap_or_default();
    groups
        .iter()
        .map(|group| {
            let text = |field: &str| group["locality"][field].as_str().unwrap_or_default().to_owned();
            let number = |field: &str| group[field].as_u64().unwrap_or_default();
            let count = group["lbEndpoints"].as_array().map_or(0, Vec::len);
            (text("zone"), text("subZone"), number("priority"), number("loadBalancingWeight"), count)
        })
        .collect()
}

fn group(zone: &str, sub_zone: &str, priority: u64, weight: u64, count: usize) -> (String, String, u64, u64, usize) {
    (zone.to_owned(), sub_zone.to_owned(), priority, weight, count)
}

#[test]
fn without_policy_the_own_zone_comes_first() {
    let world = World::new();
    let (set, _) = world.edited_by(POLICY);
    assert_eq!(
        groups(&set, "api"),
        [group("east", "", 0, 0, 2), group("north", "", 1, 0, 1), group("west", "", 1, 0, 1)]
    );
}

#[test]
fn endpoints_that_are_right_already_stay_shared() {
    let (set, _) = World::new().edited_by(POLICY);
    let mut next = World::new();
    next.set = set;
    let before = Arc::clone(&next.set.endpoints[&kri_of("api")].endpoints);
    let (after, _) = next.edited_by(POLICY);
    assert!(Arc::ptr_eq(&before, &after.endpoints[&kri_of("api")].endpoints));
}

#[test]
fn disabled_awareness_treats_all_zones_alike() {
    let set =
        for_api(json!({"localityAwareness": {"disabled": true, "localZone": {"affinityTags": [{"key": "node"}]}}}));
    assert!(groups(&set, "api").iter().all(|group| group.2 == 0));
    assert_eq!(groups(&set, "store")[1].2, 1);
}

#[test]
fn affinity_and_failover_group_endpoints() {
    let set = for_api(json!({"localityAwareness": {
        "localZone": {"affinityTags": [{"key": "app"}, {"key": "node"}]},
        "crossZone": {"failover": [
            {"from": {"zones": ["south"]}, "to": {"type": "Any"}},
            {"to": {"type": "None"}},
            {"from": {"zones": ["east"]}, "to": {"type": "AnyExcept", "zones": ["north"]}}],
            "failoverThreshold": {"percentage": 33}}}}));
    assert_eq!(groups(&set, "api"), [group("east", "", 0, 1, 2), group("west", "", 3, 0, 1)]);
    let assignment = load_assignment(&set, &kri_of("api"));
    assert_eq!(assignment["policy"], json!({"overprovisioningFactor": 300}));
    assert_eq!(cluster(&set, &kri_of("api"))["commonLbConfig"], json!({"localityWeightedLbConfig": {}}));
}

#[test]
fn tags_weigh_ten_times_the_next_one() {
    let weights: Vec<_> = (0..3).map(|i| super::locality::default_weight(3, i)).collect();
    assert_eq!(weights, [900, 90, 9]);
}

#[test]
fn algorithms_reach_the_cluster() {
    let balanced = |conf: Value| {
        let cluster = cluster(&for_api(json!({"loadBalancer": conf})), &kri_of("api"));
        let config = ["leastRequestLbConfig", "ringHashLbConfig", "maglevLbConfig"].map(|key| cluster[key].clone());
        (cluster["lbPolicy"].clone(), config.into_iter().find(|config| !config.is_null()).unwrap_or_default())
    };
    assert_eq!(balanced(json!({"type": "RoundRobin"})), (Value::Null, Value::Null));
    assert_eq!(balanced(json!({"type": "Random"})), (json!("RANDOM"), Value::Null));
    assert_eq!(
        balanced(json!({"type": "LeastRequest", "leastRequest": {"choiceCount": 4}, "maglev": {"tableSize": 7}})),
        (json!("LEAST_REQUEST"), json!({"choiceCount": 4}))
    );
    assert_eq!(
        balanced(json!({"type": "RingHash", "ringHash": {"minRingSize": 100, "hashFunction": "MurmurHash2"}})),
        (json!("RING_HASH"), json!({"minimumRingSize": "100", "hashFunction": "MURMUR_HASH_2"}))
    );
    assert_eq!(
        balanced(json!({"type": "Maglev", "maglev": {"tableSize": 17}})),
        (json!("MAGLEV"), json!({"tableSize": "17"}))
    );
}

#[test]
fn routes_hash_what_they_are_told() {
    let set = for_api(json!({"hashPolicies": [
        {"type": "Cookie", "terminal": true, "cookie": {"name": "c", "ttl": "1h", "path": "/"}},
        {"type": "Connection", "connection": {"sourceIP": true}},
        {"type": "Header"}]}));
    let api = listener(&set, &kri_of("api"));
    let routes = &api["filterChains"][0]["filters"][0]["typedConfig"]["routeConfig"]["virtualHosts"][0]["routes"];
    for i in 0..2 {
        assert_eq!(
            routes[i]["route"]["hashPolicy"],
            json!([{"terminal": true, "cookie": {"name": "c", "ttl": "3600s", "path": "/"}},
                {"connectionProperties": {"sourceIp": true}}])
        );
    }
}
