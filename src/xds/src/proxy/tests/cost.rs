//! What each kind of change costs: the sisters of `one_endpoint_move_encodes_one_endpoint_set`.

use std::sync::Arc;

use super::*;
use crate::world::resource;

/// A mesh of which every configuration was made.
fn settled() -> World {
    let mut world = World::new(&mesh());
    all_configs(&mut world);
    world
}

#[test]
fn a_removed_service_generates_and_encodes_no_destination() {
    let mut world = settled();
    let (touched, cost) = cost(&mut world, |world| world.delete(&service("db", "db", "241.0.0.2")));
    assert_eq!(touched, Touched::All);
    assert_eq!((cost.generated_outbounds, cost.encoded_endpoints), (0, 0));
    assert_eq!(world.names("web", ResourceType::Endpoint), [BACKEND]);
}

#[test]
fn a_dataplane_that_joins_and_leaves_a_service_encodes_one_endpoint_set_each_time() {
    let mut world = settled();
    let mut second = dataplane("db-2", "10.0.2.2");
    second["labels"]["app"] = json!("db");
    for joins in [true, false] {
        let (touched, cost) = cost(&mut world, |world| if joins { world.put(&second) } else { world.delete(&second) });
        assert!(touched.contains("web") && touched.contains("db-2"));
        // The set without it may still be known.
        assert!(cost.encoded_endpoints == 1 || !joins, "{cost:?}");
        assert_eq!((cost.generated_outbounds, cost.generated_proxies, cost.encoded_clusters), (0, 0, 0));
    }
}

#[test]
fn a_dataplane_of_no_service_touches_itself_only() {
    let mut world = settled();
    let touched = world.put(&dataplane("lonely", "10.0.9.9"));
    assert_eq!(touched, Touched::Some(["lonely".into()].into()));
}

#[test]
fn a_renewed_certificate_is_encoded_for_its_proxy_and_changes_its_secrets_only() {
    let mut world = settled();
    let before = (world.config("web").unwrap(), world.config("web-2").unwrap(), world.view.counters());
    world.renew("web", b"another chain");
    let after = world.config("web").unwrap();
    for ty in [ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener] {
        assert!(before.0.of(ty).is_same(after.of(ty)), "{ty:?}");
    }
    assert_ne!(before.0.of(ResourceType::Secret), after.of(ResourceType::Secret));
    assert!(Arc::ptr_eq(&before.1, &world.config("web-2").unwrap()));
    let counters = world.view.counters();
    assert_eq!((counters.generated_outbounds, counters.matched), (before.2.generated_outbounds, before.2.matched));
}

#[test]
fn an_identity_for_one_dataplane_touches_no_other() {
    let mut world = settled();
    let mut narrow = identity();
    narrow["name"] = json!("narrow");
    narrow["spec"]["selector"]["dataplane"]["matchLabels"] = json!({"app": "web"});
    assert_eq!(world.put(&narrow), Touched::Some(["web".into()].into()));
}

#[test]
fn another_mesh_touches_nobody() {
    let mut world = settled();
    for document in mesh() {
        let mut foreign = (*resource(&document)).clone();
        foreign.key.mesh = "other".into();
        let (touched, cost) = cost(&mut world, |world| world.apply(foreign.key.clone(), Some(Arc::new(foreign))));
        assert_eq!((touched, cost), (Touched::None, Counters::default()));
    }
}

#[test]
fn a_secret_that_nothing_uses_touches_nobody() {
    let mut world = settled();
    let secret = json!({"type": "Secret", "name": "unused", "spec": {"data": "eA=="}});
    let (touched, cost) = cost(&mut world, |world| world.put(&secret));
    assert_eq!((touched, cost), (Touched::None, Counters::default()));
}

#[test]
fn a_policy_that_is_written_again_as_it_was_touches_nobody() {
    let mut world = settled();
    let timeout = json!({"type": "MeshTimeout", "name": "t", "spec": {"to": [{
        "targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "3s"}}]}});
    world.put(&timeout);
    let (touched, cost) = cost(&mut world, |world| world.put_version(&timeout, 9));
    assert_eq!((touched, cost), (Touched::None, Counters::default()));
}

#[test]
fn a_removed_policy_makes_what_it_shaped_anew_and_encodes_no_endpoints() {
    let mut world = settled();
    let timeout = json!({"type": "MeshTimeout", "name": "t", "spec": {"to": [{
        "targetRef": {"kind": "MeshService", "labels": {"kuma.io/display-name": "db"}},
        "default": {"connectionTimeout": "3s"},
    }]}});
    world.put(&timeout);
    let (_, cost) = cost(&mut world, |world| world.delete(&timeout));
    assert!(cost.generated_outbounds <= 1, "{cost:?}");
    assert_eq!(cost.encoded_endpoints, 0);
}

#[test]
fn a_service_without_dataplanes_has_an_explicit_empty_endpoint_set() {
    let mut world = settled();
    let before = world.config("web").unwrap().get(ResourceType::Endpoint, "kri_msvc_m_east__db_http").unwrap().clone();
    world.delete(&dataplane("db", "10.0.2.1"));
    let after = world.config("web").unwrap().get(ResourceType::Endpoint, "kri_msvc_m_east__db_http").unwrap().clone();
    assert!(after.resource.body.len() < before.resource.body.len(), "there, and without the endpoint");
}
