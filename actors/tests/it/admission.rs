//! Who is let in, and in which words others are refused.

use std::time::Duration;

use actors::{Authentication, Settings};
use identity::RsaPrivateKey;
use identity::token::{DataplaneClaims, SigningKey, issue, secret_spec};
use jiff::SignedDuration;
use model::Timestamp;
use model::registry::{DATAPLANE, MESH_IDENTITY, SECRET};
use serde_json::json;
use store::Store;
use tonic::Code;
use xds::ResourceType;

use crate::world::{Proxy, World, dataplane_document, settings};

const RESOURCE: &str = "dataplane.resource";

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_the_words_that_clients_know() {
    let world = World::new().await;
    world.dataplane("web").await;
    let web = dataplane_document("web", &[]);
    let cases: &[(&str, &[(&str, &str)], &[&str], &str)] = &[
        ("", &[], &[], "request must have a valid Proxy ID: Envoy ID must not be nil"),
        ("default", &[], &[], "request must have a valid Proxy ID: the name should be provided after the dot"),
        (
            "default.gone",
            &[],
            &[],
            "resource \"default.gone\" not found; create a Dataplane in Kuma CP first or pass it as an argument to kuma-dp",
        ),
        ("default.web", &[("dataplane.proxyType", "ingress")], &[], "unsupported proxy type \"ingress\""),
        (
            "default.web",
            &[],
            &["a", "b"],
            "could not extract credential from DiscoveryRequest: request must have exactly 1 \"authorization\" header, got 2",
        ),
        (
            "default.other",
            &[(RESOURCE, &web)],
            &[],
            "could not register proxy passed in kuma-dp run: proxyId default.other does not match proxy resource default.web",
        ),
    ];
    for (node, metadata, tokens, message) in cases {
        let status = world.refusal(node, metadata, tokens).await;
        assert_eq!((status.code(), status.message()), (Code::Unknown, *message));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_cannot_change_within_a_stream() {
    let world = World::new().await;
    world.dataplane("web").await;
    let mut proxy = world.proxy("web").await;
    proxy.ask(ResourceType::Cluster, &[]).await;
    proxy.next().await;
    let node = envoy_types::pb::envoy::config::core::v3::Node { id: "default.other".into(), ..Default::default() };
    proxy.claim(node).await;
    assert_eq!(
        proxy.end().await.message(),
        "stream was authenticated for ID default.web. Received request is for node with ID default.other. \
         Node ID cannot be changed after stream is initialized"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn second_stream_of_a_proxy_is_refused() {
    let world = World::new().await;
    world.dataplane("web").await;
    let mut first = world.proxy("web").await;
    first.begin().await;
    first.next_clusters().await;
    let status = world.refusal("default.web", &[], &[]).await;
    assert_eq!(status.message(), "there is already an active stream from this node, try again later");
}

#[tokio::test(flavor = "multi_thread")]
async fn brought_dataplane_is_registered_with_labels_and_deleted_after_the_proxy_is_gone() {
    let world = World::new().await;
    let document = dataplane_document("web", &[("app", "web")]);
    let mut proxy = Proxy::open(world.channel().await, "default.web", &[(RESOURCE, &document)]).await;
    proxy.begin().await;
    proxy.next_clusters().await;
    let state = world.store.snapshot();
    let stored = state.get(&model::Key::new(DATAPLANE, "default", "web")).unwrap();
    assert_eq!(stored.label("kuma.io/display-name"), Some("web"));
    assert_eq!(stored.label("kuma.io/zone"), Some("default"));
    assert_eq!(stored.label("app"), Some("web"));
    drop(proxy);
    world.until_stored(|state| state.get(&model::Key::new(DATAPLANE, "default", "web")).is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fast_reconnect_is_neither_refused_nor_deleted() {
    let world = World::with(Settings { deregistration_delay: Duration::from_millis(100), ..settings() }).await;
    let document = dataplane_document("web", &[]);
    let mut proxy = None;
    for _ in 0..3 {
        drop(proxy.take());
        let mut next = Proxy::open(world.channel().await, "default.web", &[(RESOURCE, &document)]).await;
        next.begin().await;
        next.next_clusters().await;
        proxy = Some(next);
    }
    until_a_later_deregistration(&world).await;
    assert!(world.has(DATAPLANE, "web"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_dataplane_outlives_its_proxy() {
    let world = World::with(Settings { deregistration_delay: Duration::ZERO, ..settings() }).await;
    world.dataplane("web").await;
    let mut proxy = world.proxy("web").await;
    proxy.begin().await;
    proxy.next_clusters().await;
    drop(proxy);
    world.until(|control_plane| control_plane.proxies().is_empty()).await;
    until_a_later_deregistration(&world).await;
    assert!(world.has(DATAPLANE, "web"));
}

/// Lets another proxy bring its Dataplane and go. Once that Dataplane is deleted, every deletion
/// that was due before has happened too.
async fn until_a_later_deregistration(world: &World) {
    let document = dataplane_document("later", &[]);
    let mut later = Proxy::open(world.channel().await, "default.later", &[(RESOURCE, &document)]).await;
    later.begin().await;
    later.next_clusters().await;
    assert!(world.has(DATAPLANE, "later"));
    drop(later);
    world.until_stored(|state| state.get(&model::Key::new(DATAPLANE, "default", "later")).is_none()).await;
}

/// A world in which proxies need tokens, and a function that issues them.
async fn world_with_tokens() -> (World, impl Fn(DataplaneClaims) -> String) {
    let authentication = Authentication::Token { public_keys: Vec::new(), use_secrets: true, in_memory: false };
    let world = World::with(Settings { authentication, ..settings() }).await;
    let key = RsaPrivateKey::generate().unwrap();
    let pem = key.to_pem().unwrap();
    world.put(SECRET, "dataplane-token-signing-key-default-1", secret_spec(pem.as_bytes())).await;
    let signing = SigningKey { id: "1".to_owned(), key };
    let issue = move |claims: DataplaneClaims| {
        issue(&claims, SignedDuration::from_hours(1), &signing, Timestamp::now()).unwrap()
    };
    (world, issue)
}

#[tokio::test(flavor = "multi_thread")]
async fn token_of_another_dataplane_is_refused() {
    let (world, issue) = world_with_tokens().await;
    world.dataplane("web").await;
    let other = issue(DataplaneClaims { name: "other".into(), mesh: "default".into(), ..Default::default() });
    let status = world.refusal("default.web", &[], &[&other]).await;
    assert_eq!(
        status.message(),
        "authentication failed: proxy name from requestor: web is different than in token: other"
    );
    let own = issue(DataplaneClaims { name: "web".into(), mesh: "default".into(), ..Default::default() });
    let mut proxy = Proxy::with(world.channel().await, Some("default.web"), &[], &[&own]).await;
    proxy.begin().await;
    proxy.next_clusters().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_does_not_take_over_a_stored_dataplane_that_it_does_not_admit() {
    let (world, issue) = world_with_tokens().await;
    world.put_labelled(DATAPLANE, "victim", &[("team", "bank")], crate::world::dataplane_spec()).await;
    let tags = [("team".to_owned(), vec!["shop".to_owned()])].into();
    let token = issue(DataplaneClaims { mesh: "default".into(), tags, ..Default::default() });
    let document = dataplane_document("victim", &[("team", "shop")]);
    let status = world.refusal("default.victim", &[(RESOURCE, &document)], &[&token]).await;
    assert_eq!(
        status.message(),
        "could not register proxy passed in kuma-dp run: \
         you are trying to override existing proxy to which you don't have an access."
    );
    let state = world.store.snapshot();
    let stored = state.get(&model::Key::new(DATAPLANE, "default", "victim")).unwrap();
    assert_eq!(stored.label("team"), Some("bank"));
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_that_names_workloads_needs_the_label() {
    let world = World::new().await;
    world
        .put(MESH_IDENTITY, "all", json!({"selector": {"dataplane": {"matchLabels": {}}},
            "provider": {"type": "Bundled", "bundled": {"insecureAllowSelfSigned": true, "autogenerate": {"enabled": true}}}}))
        .await;
    let document = dataplane_document("web", &[]);
    let status = world.refusal("default.web", &[(RESOURCE, &document)], &[]).await;
    assert_eq!(
        status.message(),
        "missing required label 'kuma.io/workload' - dataplane is selected by MeshIdentity 'all' \
         with path template '/workload/{{ .Workload }}'"
    );
    assert!(!world.has(DATAPLANE, "web"));
}
