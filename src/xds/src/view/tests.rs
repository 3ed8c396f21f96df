//! Properties of the fold: whatever changes come, in whatever order, the view is the one that would
//! be built from what there is, and who is not touched runs what it ran before.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{MeshView, Touched};
use crate::world::{World, dataplane, identity, service, trust};

/// Names of the proxies that are asked what they run.
const PROXIES: [&str; 5] = ["web", "named", "narrow", "egress", "ingress"];

/// The variants of each resource of the small mesh that tests play with; the first is how it begins.
fn universe() -> Vec<Vec<Value>> {
    [callers(), zone_proxies(), backends(), destinations(), trusts(), policies()].concat()
}

fn callers() -> Vec<Vec<Value>> {
    let mut narrow = dataplane("narrow", "10.0.0.3");
    narrow["spec"]["networking"]["transparentProxying"]["reachableBackends"] = json!({"refs": [
        {"kind": "MeshService", "name": "db", "port": 80},
        {"kind": "MeshMultiZoneService", "labels": {"tier": "global"}},
    ]});
    let mut wider = narrow.clone();
    wider["spec"]["networking"]["transparentProxying"]["reachableBackends"]["refs"][0] =
        json!({"kind": "MeshExternalService", "name": "out"});
    let named = json!({
        "type": "Dataplane", "name": "named", "labels": {"app": "named", "kuma.io/workload": "named"},
        "spec": {"networking": {
            "address": "10.0.0.2",
            "inbound": [{"port": 80, "protocol": "tcp"}],
            "outbound": [{"port": 10001, "backendRef": {"kind": "MeshService", "name": "backend", "port": 80}}],
        }},
    });
    vec![vec![dataplane("web", "10.0.0.1"), dataplane("web", "10.0.0.7")], vec![named], vec![narrow, wider]]
}

fn zone_proxies() -> Vec<Vec<Value>> {
    let zone_proxy = |name: &str, kind: &str, state: &str| {
        json!({
            "type": "Dataplane", "name": name, "labels": {"app": name, "kuma.io/workload": name},
            "spec": {"networking": {
                "address": "10.0.9.1", "listeners": [{"type": kind, "port": 10002, "state": state}],
            }},
        })
    };
    vec![
        vec![zone_proxy("egress", "ZoneEgress", "Ready"), zone_proxy("egress", "ZoneEgress", "NotReady")],
        vec![zone_proxy("ingress", "ZoneIngress", "Ready")],
    ]
}

fn backends() -> Vec<Vec<Value>> {
    let mut backend_down = dataplane("backend", "10.0.1.1");
    backend_down["spec"]["networking"]["inbound"][0]["state"] = json!("NotReady");
    let mut backend_tcp = service("backend", "backend", "241.0.0.1");
    backend_tcp["spec"]["ports"][0]["appProtocol"] = json!("tcp");
    let mut backend_plain = service("backend", "backend", "241.0.0.1");
    backend_plain["status"]["tls"]["status"] = json!("NotReady");
    let mut backend_other = service("backend", "db", "241.0.0.9");
    backend_other["status"]["addresses"] = json!([]);
    vec![
        vec![dataplane("backend", "10.0.1.1"), dataplane("backend", "10.0.1.2"), backend_down],
        vec![dataplane("db", "10.0.2.1"), dataplane("db", "not-an-address")],
        vec![service("backend", "backend", "241.0.0.1"), backend_tcp, backend_plain, backend_other],
        vec![service("db", "db", "241.0.0.2")],
    ]
}

fn destinations() -> Vec<Vec<Value>> {
    let remote = |identity: &str| {
        json!({
            "type": "MeshService", "name": "far-hash",
            "labels": {"kuma.io/display-name": "far", "kuma.io/zone": "west", "kuma.io/origin": "global"},
            "spec": {
                "state": "Available",
                "ports": [{"port": 80, "name": "http", "targetPort": 80, "appProtocol": "http"}],
                "identities": [{"type": "SpiffeID", "value": identity}],
            },
            "status": {"vips": [{"ip": "241.0.0.4"}]},
        })
    };
    let member = |name: &str, zone: &str| json!({"name": name, "mesh": "m", "zone": zone, "namespace": ""});
    let multi_zone = |members: Value| {
        json!({
            "type": "MeshMultiZoneService", "name": "all", "labels": {"tier": "global"},
            "spec": {"selector": {"meshService": {}}, "ports": [{"port": 80, "name": "http", "appProtocol": "http"}]},
            "status": {"vips": [{"ip": "242.0.0.1"}], "meshServices": members},
        })
    };
    let external = |port: u32| {
        json!({
            "type": "MeshExternalService", "name": "out",
            "spec": {
                "match": {"type": "HostnameGenerator", "port": port, "protocol": "http"},
                "endpoints": [{"address": "1.1.1.1", "port": 80}],
            },
            "status": {"vip": {"ip": "243.0.0.1"}, "addresses": [{"hostname": "out.ext"}]},
        })
    };
    vec![
        vec![remote("spiffe://far/a"), remote("spiffe://far/b")],
        vec![multi_zone(json!([member("far", "west"), member("db", "east")])), multi_zone(json!([]))],
        vec![external(443), external(444)],
    ]
}

fn trusts() -> Vec<Vec<Value>> {
    let address = |ip: &str| json!({"type": "MeshZoneAddress", "name": "west", "labels": {"kuma.io/zone": "west"}, "spec": {"address": ip, "port": 10001}});
    let mut narrow_identity = identity();
    narrow_identity["spec"]["selector"]["dataplane"]["matchLabels"] = json!({"app": "web"});
    vec![
        vec![identity(), narrow_identity],
        vec![trust("ca"), trust("another")],
        vec![address("192.0.2.1"), address("192.0.2.2")],
    ]
}

fn policies() -> Vec<Vec<Value>> {
    let to = |name: &str| json!({"kind": "MeshService", "labels": {"kuma.io/display-name": name}});
    let timeout = |target: Value, to: Value, value: &str| {
        json!({"type": "MeshTimeout", "name": "t", "spec": {
            "targetRef": target, "to": [{"targetRef": to, "default": {"connectionTimeout": value}}],
        }})
    };
    let route = |backend: &str| {
        json!({"type": "MeshHTTPRoute", "name": "r", "spec": {"to": [{
            "targetRef": to("backend"),
            "rules": [{
                "matches": [{"path": {"type": "PathPrefix", "value": "/v2"}}],
                "default": {"backendRefs": [{"kind": "MeshService", "labels": {"kuma.io/display-name": backend}, "port": 80, "weight": 1}]},
            }],
        }]}})
    };
    vec![
        vec![
            timeout(json!({"kind": "Mesh"}), json!({"kind": "Mesh"}), "1s"),
            timeout(json!({"kind": "Mesh"}), to("db"), "2s"),
            timeout(json!({"kind": "Dataplane", "labels": {"app": "web"}}), to("backend"), "3s"),
        ],
        vec![route("db"), route("far"), route("nothing")],
        vec![json!({"type": "MeshTLS", "name": "tls", "spec": {
            "targetRef": {"kind": "Dataplane", "labels": {"app": "web"}}, "rules": [{"default": {"mode": "Permissive"}}],
        }})],
        vec![json!({"type": "MeshFaultInjection", "name": "f", "spec": {
            "targetRef": {"kind": "Dataplane", "labels": {"app": "db"}},
            "rules": [{"default": {"http": [{"abort": {"httpStatus": 500, "percentage": "50.0"}}]}}],
        }})],
    ]
}

/// One step: which resource, and which of its variants (beyond the last: it is deleted).
fn step() -> impl Strategy<Value = (usize, usize)> {
    (0..universe().len(), 0_usize..5)
}

fn take(world: &mut World, universe: &[Vec<Value>], (resource, variant): (usize, usize)) -> Touched {
    let variants = &universe[resource];
    match variants.get(variant) {
        Some(document) => world.put(document),
        None => world.delete(&variants[0]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_folded_view_is_the_built_one(steps in proptest::collection::vec(step(), 1..25)) {
        let universe = universe();
        let mut world = World::new(&[]);
        for step in steps {
            take(&mut world, &universe, step);
            prop_assert_eq!(world.view.difference(&world.view.rebuilt()), None);
        }
    }

    #[test]
    fn who_is_not_touched_runs_what_it_ran(steps in proptest::collection::vec(step(), 1..12)) {
        let universe = universe();
        let first: Vec<_> = universe.iter().map(|variants| variants[0].clone()).collect();
        let mut world = World::new(&first);
        for step in steps {
            let before: Vec<_> = PROXIES.iter().map(|name| world.config(name)).collect();
            let touched = take(&mut world, &universe, step);
            for (name, before) in PROXIES.iter().zip(before) {
                let after = world.config(name);
                prop_assert!(after == world.config_anew(name), "{} after {:?}: cached and anew", name, step);
                if !touched.contains(name) {
                    prop_assert!(before == after, "{} is not touched by {:?}", name, step);
                }
            }
        }
    }
}

#[test]
fn the_small_mesh_is_read_without_faults() {
    let first: Vec<_> = universe().iter().map(|variants| variants[0].clone()).collect();
    let mut world = World::new(&first);
    assert_eq!(world.view.faults().collect::<Vec<_>>(), []);
    for name in PROXIES {
        assert_eq!(world.config(name).unwrap().faults, [], "{name}");
    }
}

#[test]
fn resources_of_other_meshes_and_insights_are_left_out() {
    let mut other = (*crate::world::resource(&dataplane("web", "10.0.0.1"))).clone();
    other.key.mesh = "other".into();
    assert!(!MeshView::holds("m", &other.key));
    let insight = model::Key::new(model::registry::DATAPLANE_INSIGHT, "m", "web");
    assert!(!MeshView::holds("m", &insight));
    assert!(MeshView::holds("m", &model::Key::global(model::registry::MESH, "m")));
    assert!(!MeshView::holds("m", &model::Key::global(model::registry::MESH, "other")));
}
