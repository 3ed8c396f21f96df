//! A control plane that compares all that is incremental with what is made from nothing, while
//! everything changes under connected proxies.

use actors::Settings;
use model::registry::{
    DATAPLANE, DATAPLANE_INSIGHT, MESH_HTTP_ROUTE, MESH_IDENTITY, MESH_PROXY_PATCH, MESH_SERVICE, MESH_TIMEOUT,
    MESH_TLS, MESH_TRAFFIC_PERMISSION, MESH_TRUST, SECRET,
};
use serde_json::json;
use store::Revision;

use crate::world::{World, settings};

const PROXIES: [&str; 3] = ["web", "api", "db"];

async fn policies(world: &World) {
    let to = |name: &str| json!({"kind": "MeshService", "labels": {"kuma.io/display-name": name}});
    for (target, timeout) in [(json!({"kind": "Mesh"}), "1s"), (to("api"), "2s"), (to("db"), "3s")] {
        let spec = json!({"to": [{"targetRef": target, "default": {"connectionTimeout": timeout}}]});
        world.put(MESH_TIMEOUT, "t", spec).await;
    }
    world.put(MESH_HTTP_ROUTE, "r", json!({"to": [{"targetRef": to("api"), "rules": [{
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "default": {"backendRefs": [{"kind": "MeshService", "labels": {"kuma.io/display-name": "db"}, "port": 80}]},
    }]}]})).await;
    let web = json!({"kind": "Dataplane", "labels": {"app": "web"}});
    world.put(MESH_TLS, "tls", json!({"targetRef": web, "rules": [{"default": {"mode": "Permissive"}}]})).await;
    world
        .put(
            MESH_TRAFFIC_PERMISSION,
            "p",
            json!({"targetRef": web, "rules": [{"default": {"allow": [
        {"spiffeID": {"type": "Prefix", "value": "spiffe://m"}}]}}]}),
        )
        .await;
    let cluster = json!({"name": "added", "type": "STATIC", "connectTimeout": "1s"}).to_string();
    world
        .put(
            MESH_PROXY_PATCH,
            "patch",
            json!({"targetRef": web, "default": {"appendModifications": [
        {"cluster": {"operation": "Add", "value": cluster}}]}}),
        )
        .await;
}

/// Changes of every kind; the last revision.
async fn change_everything(world: &World) -> Revision {
    for (port, name) in [(80, "api"), (80, "db"), (81, "api"), (80, "late")] {
        world.service(name, port).await;
    }
    policies(world).await;
    world
        .put(
            MESH_TRUST,
            "trust",
            json!({"trustDomain": "other", "caBundles": [
        {"type": "Pem", "pem": {"value": "ca"}}]}),
        )
        .await;
    world.put(SECRET, "unused", json!({"data": "eA=="})).await;
    world.put(DATAPLANE_INSIGHT, "api", json!({"subscriptions": []})).await;
    world
        .put(
            MESH_IDENTITY,
            "nobody",
            json!({"selector": {"dataplane": {"matchLabels": {"app": "nobody"}}},
        "provider": {"type": "Bundled", "bundled": {}}}),
        )
        .await;
    let moved = json!({"networking": {"address": "127.0.0.9", "inbound": [{"port": 8080}]}});
    world.put_labelled(DATAPLANE, "backend", &[("app", "db")], moved).await;
    world.delete(DATAPLANE, "backend").await;
    for (kind, name) in [
        (MESH_TIMEOUT, "t"),
        (MESH_HTTP_ROUTE, "r"),
        (MESH_TLS, "tls"),
        (MESH_TRAFFIC_PERMISSION, "p"),
        (MESH_PROXY_PATCH, "patch"),
        (MESH_TRUST, "trust"),
        (MESH_IDENTITY, "nobody"),
    ] {
        world.delete(kind, name).await;
    }
    world.delete(MESH_SERVICE, "late").await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_incremental_differs_from_what_is_made_from_nothing() {
    let world = World::with(Settings { verify_views: true, ..settings() }).await;
    let mut proxies = Vec::new();
    for name in PROXIES {
        world.dataplane(name).await;
        let mut proxy = world.proxy(name).await;
        proxy.begin().await;
        proxies.push(proxy.accept_all());
    }
    world.until(|control_plane| control_plane.standing().acked == PROXIES.len()).await;
    for _ in 0..3 {
        let last = change_everything(&world).await;
        world.control_plane.settled(Some(last)).await;
        let propagation = world.control_plane.propagation(last);
        assert_eq!((propagation.pending, propagation.rejected), (vec![], vec![]));
    }
    assert_eq!(world.control_plane.differences(), 0);
}
