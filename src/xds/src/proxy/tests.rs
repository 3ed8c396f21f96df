//! Tests of what proxies run, and of what that costs.

mod cost;

use serde_json::{Value, json};

use crate::proxy::Counters;
use crate::proxy_config::ResourceType;
use crate::view::Touched;
use crate::world::{World, dataplane, identity, service, trust};

const BACKEND: &str = "kri_msvc_m_east__backend_http";

/// Two callers, and two services with one dataplane each.
fn mesh() -> Vec<Value> {
    vec![
        dataplane("web", "10.0.0.1"),
        dataplane("web-2", "10.0.0.2"),
        dataplane("backend", "10.0.1.1"),
        dataplane("db", "10.0.2.1"),
        service("backend", "backend", "241.0.0.1"),
        service("db", "db", "241.0.0.2"),
        identity(),
        trust("ca"),
    ]
}

fn all_configs(world: &mut World) {
    for name in ["web", "web-2", "backend", "db"] {
        assert!(world.config(name).is_some(), "{name}");
    }
}

/// What was done between two counts.
fn cost(world: &mut World, change: impl FnOnce(&mut World) -> Touched) -> (Touched, Counters) {
    all_configs(world);
    let before = world.view.counters();
    let touched = change(world);
    for name in ["web", "web-2", "backend", "db"] {
        if touched.contains(name) {
            world.config(name);
        }
    }
    let after = world.view.counters();
    let cost = Counters {
        matched: after.matched - before.matched,
        generated_proxies: after.generated_proxies - before.generated_proxies,
        generated_inbounds: after.generated_inbounds - before.generated_inbounds,
        generated_names: after.generated_names - before.generated_names,
        generated_outbounds: after.generated_outbounds - before.generated_outbounds,
        encoded_clusters: after.encoded_clusters - before.encoded_clusters,
        encoded_endpoints: after.encoded_endpoints - before.encoded_endpoints,
        encoded_listeners: after.encoded_listeners - before.encoded_listeners,
        encoded_secrets: after.encoded_secrets - before.encoded_secrets,
    };
    (touched, cost)
}

#[test]
fn a_sidecar_has_its_admin_passthrough_inbound_dns_outbounds_and_secrets() {
    let mut world = World::new(&mesh());
    let listeners = world.names("web", ResourceType::Listener);
    for name in [
        BACKEND,
        "self_inbound_dp_main",
        "self_transparentproxy_passthrough_inbound_ipv4",
        "system_dynamicconfig",
        "system_envoy_admin",
    ] {
        assert!(listeners.contains(&name.to_owned()), "{name} in {listeners:?}");
    }
    let clusters = world.names("web", ResourceType::Cluster);
    for name in [BACKEND, "self_inbound_dp_main", "system_probe_readiness"] {
        assert!(clusters.contains(&name.to_owned()), "{name} in {clusters:?}");
    }
    assert_eq!(world.names("web", ResourceType::Endpoint), [BACKEND, "kri_msvc_m_east__db_http"]);
    assert_eq!(world.names("web", ResourceType::Secret), ["kri_mid_m___identity_", "system_trust_bundle"]);
    assert_eq!(world.config("web").unwrap().faults, []);
}

#[test]
fn nothing_is_done_twice_for_the_same_view() {
    let mut world = World::new(&mesh());
    let first = world.config("web").unwrap();
    let counters = world.view.counters();
    let second = world.config("web").unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &second));
    assert_eq!(world.view.counters(), counters);
}

#[test]
fn one_endpoint_move_encodes_one_endpoint_set() {
    let mut world = World::new(&mesh());
    let mut moved = dataplane("db", "10.0.2.9");
    // The moved dataplane's own proxy is another matter; here only its callers count.
    moved["labels"]["moved"] = json!("yes");
    all_configs(&mut world);
    let before = world.view.counters();
    let touched = world.put(&moved);
    for name in ["web", "web-2", "backend"] {
        assert!(touched.contains(name));
        world.config(name);
    }
    let after = world.view.counters();
    assert_eq!(after.encoded_endpoints - before.encoded_endpoints, 1);
    assert_eq!(Counters { encoded_endpoints: before.encoded_endpoints, ..after }, before);
}

#[test]
fn a_new_service_encodes_its_own_resources_once() {
    let mut world = World::new(&mesh());
    let (touched, cost) = cost(&mut world, |world| world.put(&service("cache", "db", "241.0.0.3")));
    assert_eq!(touched, Touched::All);
    assert_eq!((cost.generated_outbounds, cost.encoded_clusters, cost.encoded_endpoints), (1, 1, 1));
    // Its name comes to each of the four workloads, and nothing else of the proxies is made again.
    assert_eq!((cost.generated_names, cost.generated_proxies, cost.encoded_listeners), (4, 0, 1 + 4));
}

#[test]
fn names_stand_beside_the_documents_of_policies() {
    let mut world = World::new(&mesh());
    let document = |world: &mut World| {
        let config = world.config("web").unwrap();
        let listener = config.get(ResourceType::Listener, "system_dynamicconfig").unwrap();
        let text = String::from_utf8_lossy(&listener.resource.body).into_owned();
        ["backend.svc.mesh.local", "/dns", "/meshmetric"].map(|part| text.contains(part))
    };
    assert_eq!(document(&mut world), [true, true, false]);
    let metric = json!({"type": "MeshMetric", "name": "metric", "spec": {"default": {
        "backends": [{"type": "Prometheus", "prometheus": {"port": 5670, "path": "/metrics"}}]}}});
    world.put(&metric);
    assert_eq!(document(&mut world), [true, true, true]);
    world.put(&service("cache", "db", "241.0.0.3"));
    let config = world.config("web").unwrap();
    let listener = config.get(ResourceType::Listener, "system_dynamicconfig").unwrap();
    assert!(String::from_utf8_lossy(&listener.resource.body).contains("cache.svc.mesh.local"));
    world.delete(&metric);
    assert_eq!(document(&mut world), [true, true, false]);
}

#[test]
fn a_heartbeat_touches_nobody() {
    let mut world = World::new(&mesh());
    let insight = json!({"type": "DataplaneInsight", "name": "web", "spec": {"subscriptions": []}});
    let (touched, cost) = cost(&mut world, |world| world.put(&insight));
    assert_eq!((touched, cost), (Touched::None, Counters::default()));
}

#[test]
fn counters_in_the_status_of_a_service_touch_nobody() {
    let mut world = World::new(&mesh());
    let mut counted = service("db", "db", "241.0.0.2");
    counted["status"]["dataplaneProxies"] = json!({"connected": 1, "total": 1});
    let (touched, cost) = cost(&mut world, |world| world.put(&counted));
    assert_eq!((touched, cost), (Touched::None, Counters::default()));
}

#[test]
fn a_policy_for_one_service_regenerates_that_outbound_only() {
    let mut world = World::new(&mesh());
    let timeout = json!({"type": "MeshTimeout", "name": "t", "spec": {"to": [{
        "targetRef": {"kind": "MeshService", "labels": {"kuma.io/display-name": "db"}},
        "default": {"connectionTimeout": "3s"},
    }]}});
    let (_, cost) = cost(&mut world, |world| world.put(&timeout));
    assert_eq!((cost.generated_outbounds, cost.encoded_endpoints), (1, 0));
}

#[test]
fn a_policy_on_all_inbounds_makes_them_once_and_nothing_else() {
    let mut world = World::new(&mesh());
    let timeout = json!({"type": "MeshTimeout", "name": "t", "spec": {
        "targetRef": {"kind": "Mesh"}, "rules": [{"default": {"http": {"requestTimeout": "3s"}}}]}});
    let (touched, cost) = cost(&mut world, |world| world.put(&timeout));
    assert_eq!(touched, Touched::All);
    assert_eq!((cost.generated_inbounds, cost.generated_proxies, cost.generated_outbounds), (1, 0, 0));
    assert_eq!((cost.encoded_listeners, cost.encoded_endpoints, cost.encoded_secrets), (4, 0, 0));
}

#[test]
fn inbounds_that_proxies_share_have_addresses_of_their_own() {
    let mut world = World::new(&mesh());
    all_configs(&mut world);
    let inbound = |world: &mut World, name: &str| {
        world.config(name).unwrap().get(ResourceType::Listener, "self_inbound_dp_main").unwrap().version
    };
    assert_ne!(inbound(&mut world, "web"), inbound(&mut world, "web-2"));
    for name in ["web", "web-2", "backend", "db"] {
        assert_eq!(world.config(name), world.config_anew(name), "{name}");
    }
}

#[test]
fn a_new_authority_encodes_secrets_and_nothing_else() {
    let mut world = World::new(&mesh());
    let (touched, cost) = cost(&mut world, |world| world.put(&trust("another")));
    assert_eq!(touched, Touched::All);
    assert_eq!(Counters { encoded_secrets: 0, ..cost }, Counters::default());
    assert!(cost.encoded_secrets > 0);
}

#[test]
fn a_policy_for_one_dataplane_touches_no_other() {
    let mut world = World::new(&mesh());
    let tls = json!({"type": "MeshTLS", "name": "t", "spec": {
        "targetRef": {"kind": "Dataplane", "labels": {"app": "web"}},
        "rules": [{"default": {"mode": "Permissive"}}],
    }});
    let touched = world.put(&tls);
    assert_eq!(touched, Touched::Some(std::collections::BTreeSet::from(["web".into()])));
}

#[test]
fn who_cannot_reach_a_service_is_not_touched_by_it() {
    let mut only_backend = dataplane("web", "10.0.0.1");
    only_backend["spec"]["networking"]["transparentProxying"]["reachableBackends"] =
        json!({"refs": [{"kind": "MeshService", "name": "backend"}]});
    let mut world = World::new(&mesh());
    world.put(&only_backend);
    assert_eq!(world.names("web", ResourceType::Endpoint), [BACKEND]);
    let touched = world.put(&dataplane("db", "10.0.2.9"));
    assert!(touched.contains("web-2") && !touched.contains("web"));
}

#[test]
fn endpoints_have_a_new_version_when_their_cluster_changes() {
    let mut world = World::new(&mesh());
    let version = |world: &mut World| {
        let config = world.config("web").unwrap();
        let endpoints = config.get(ResourceType::Endpoint, BACKEND).unwrap();
        (endpoints.version, endpoints.resource.hash)
    };
    let before = version(&mut world);
    let timeout = json!({"type": "MeshTimeout", "name": "t", "spec": {"to": [{
        "targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "3s"},
    }]}});
    world.put(&timeout);
    let after = version(&mut world);
    assert_eq!(before.1, after.1);
    assert_ne!(before.0, after.0);
}

#[test]
fn a_moved_collector_is_told_to_who_sends_to_it() {
    let mut world = World::new(&mesh());
    let collector = |address: &str| json!({"type": "MeshOpenTelemetryBackend", "name": "main", "spec": {"endpoint": {"address": address}}});
    let reference = json!({"kind": "MeshOpenTelemetryBackend", "labels": {"kuma.io/display-name": "main"}});
    world.put(&json!({"type": "MeshMetric", "name": "m", "spec": {"default": {"backends": [
        {"type": "OpenTelemetry", "openTelemetry": {"backendRef": reference}}]}}}));
    let mut config_with = |address: &str| {
        assert_eq!(world.put(&collector(address)), Touched::All);
        world.config("web").expect("a proxy")
    };
    let (before, after) = (config_with("10.9.0.1"), config_with("10.9.0.2"));
    assert_ne!(before, after);
}
