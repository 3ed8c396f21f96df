//! What proxies refuse is traced to who brought it.

use std::sync::Arc;

use actors::RefusedResource;
use model::registry::{MESH_PROXY_PATCH, MESH_TIMEOUT};
use serde_json::json;

use crate::world::{Proxy, World};

/// A patch that adds a cluster whose type is beyond a simulated proxy.
async fn put_patch(world: &World, cluster: &str) {
    let value = json!({"name": cluster, "type": "STATIC", "connectTimeout": "1s"}).to_string();
    let spec = json!({"default": {"appendModifications": [{"cluster": {"operation": "Add", "value": value}}]}});
    world.put(MESH_PROXY_PATCH, "patch", spec).await;
}

/// Refuses every response that has the cluster, until `count` were refused; accepts the others.
async fn refuse(proxy: &mut Proxy, cluster: &str, count: usize) {
    let mut refused = 0;
    while refused < count {
        let response = proxy.next().await;
        let has_it = response.resources.iter().any(|resource| resource.name == cluster);
        refused += usize::from(has_it);
        let words = format!("{cluster}: no such address");
        proxy.answer(&response, has_it.then_some(words.as_str())).await;
    }
}

fn refused(control_plane: &actors::ControlPlane) -> Arc<[RefusedResource]> {
    let proxies = control_plane.proxies();
    proxies.first().map_or_else(Arc::default, |proxy| Arc::clone(&proxy.refusals))
}

fn is_traced_to_the_patch(control_plane: &actors::ControlPlane) -> bool {
    let refused = refused(control_plane);
    let causes: Vec<_> = refused.iter().flat_map(|refused| refused.causes.iter()).collect();
    matches!(&causes[..], [key] if key.kind == MESH_PROXY_PATCH && &*key.name == "patch")
}

/// A policy that shapes every destination.
async fn put_timeout(world: &World, name: &str) {
    let spec = json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "3s"}}]});
    world.put(MESH_TIMEOUT, name, spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_is_traced_to_the_policy_that_brought_it_and_gone_when_that_is_repaired() {
    let world = World::new().await;
    put_timeout(&world, "bystander").await;
    let mut proxy = world.settled_proxy("web").await;
    put_patch(&world, "added").await;
    refuse(&mut proxy, "added", 1).await;
    world.until(is_traced_to_the_patch).await;
    let found = refused(&world.control_plane);
    assert_eq!((&*found[0].rejection.name, &*found[0].rejection.message), ("added", "added: no such address"));

    put_patch(&world, "repaired").await;
    let mut proxy = proxy.accept_all();
    proxy.until(|clusters| clusters.contains_key("repaired")).await;
    world.until(|control_plane| refused(control_plane).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_after_a_reconnect_is_still_traced() {
    let world = World::new().await;
    let mut proxy = world.settled_proxy("web").await;
    put_patch(&world, "added").await;
    refuse(&mut proxy, "added", 1).await;
    world.until(is_traced_to_the_patch).await;
    drop(proxy);
    world.until(|control_plane| control_plane.proxies().is_empty()).await;
    put_timeout(&world, "later").await;
    let mut proxy = world.proxy("web").await;
    proxy.begin().await;
    refuse(&mut proxy, "added", 1).await;
    world.until(is_traced_to_the_patch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_in_the_first_configuration_is_traced_to_the_last_policy_that_shapes_it() {
    let world = World::new().await;
    world.dataplane("web").await;
    put_patch(&world, "added").await;
    put_timeout(&world, "bystander").await;
    let mut proxy = world.proxy("web").await;
    proxy.begin().await;
    refuse(&mut proxy, "added", 1).await;
    world.until(is_traced_to_the_patch).await;
}
