//! What travels on streams.

use std::time::Duration;

use actors::Settings;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use model::kinds::dataplane_insight::DataplaneInsight;
use store::Store;
use tonic::Code;
use xds::ResourceType;

use crate::world::{INSIGHT, World, settings};

fn has(name: &'static str) -> impl Fn(&std::collections::BTreeMap<String, String>) -> bool {
    move |clusters| clusters.keys().any(|cluster| cluster.contains(name))
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_is_configured_and_told_of_what_changes() {
    let world = World::new().await;
    world.dataplane("web").await;
    world.service("api", 80).await;
    let mut proxy = world.proxy("web").await;
    proxy.begin().await;
    let first = proxy.next().await;
    assert_eq!(first.control_plane.as_ref().unwrap().identifier, "cp-1");
    assert_eq!((&*first.type_url, &*first.nonce), (ResourceType::Cluster.type_url(), "1"));
    proxy.answer(&first, None).await;
    world.service("db", 5432).await;
    proxy.until_clusters(has("db")).await;
    world.delete(model::registry::MESH_SERVICE, "db").await;
    proxy.until_clusters(|clusters| !has("db")(clusters)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_of_the_world_is_not_served() {
    let world = World::new().await;
    let mut client = AggregatedDiscoveryServiceClient::new(world.channel().await);
    let requests = tokio_stream::iter([DiscoveryRequest::default()]);
    let status = client.stream_aggregated_resources(requests).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_streams_are_all_told_of_a_change() {
    const PROXIES: usize = 200;
    let world = World::new().await;
    for n in 0..PROXIES {
        world.dataplane(&format!("dp-{n}")).await;
    }
    let channel = world.channel().await;
    let mut proxies = Vec::new();
    for n in 0..PROXIES {
        let mut proxy = crate::world::Proxy::open(channel.clone(), &format!("default.dp-{n}"), &[]).await;
        proxy.begin().await;
        proxies.push(proxy.accept_all());
    }
    world.until(|control_plane| control_plane.proxies().len() == PROXIES).await;
    let revision = world.service("storm", 80).await;
    for proxy in &mut proxies {
        proxy.until(has("storm")).await;
    }
    world.until(|control_plane| control_plane.propagation(revision).pending.is_empty()).await;
    let propagation = world.control_plane.propagation(revision);
    assert!(propagation.folded);
    assert_eq!((propagation.concerned, propagation.acked), (PROXIES, PROXIES));
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_that_reads_nothing_costs_only_itself() {
    let world = World::new().await;
    for name in ["slow", "fast"] {
        world.dataplane(name).await;
    }
    let mut slow = world.proxy("slow").await;
    slow.begin().await;
    let mut fast = world.proxy("fast").await;
    fast.begin().await;
    let mut fast = fast.accept_all();
    for n in 0..200u16 {
        world.service("busy", 1000 + n).await;
    }
    // The fast one gets these one by one.
    for n in 0..30u16 {
        let former = fast.clusters();
        world.service("busy", 2000 + n).await;
        fast.until(|clusters| *clusters != former).await;
    }
    let last = world.service("last", 80).await;
    fast.until(has("last")).await;
    world
        .until(|control_plane| {
            let pending = control_plane.propagation(last).pending;
            pending.len() == 1 && &*pending[0].name == "slow"
        })
        .await;
    let mut slow = slow.accept_all();
    slow.until(has("last")).await;
    // What it did not read was not kept for it: of 200 changes it is told the first and the last.
    assert!(slow.responses() <= 8, "{} responses", slow.responses());
    // Nor in bytes: what waited is less than its configuration, as one that connects now gets it, twice.
    world.dataplane("new").await;
    let mut new = world.proxy("new").await;
    new.begin().await;
    let mut new = new.accept_all();
    new.until(has("last")).await;
    world.control_plane.settled(None).await;
    assert!(slow.bytes() <= 2 * new.bytes(), "{} bytes, a configuration has {}", slow.bytes(), new.bytes());
    assert!(fast.bytes() > 2 * new.bytes(), "{} bytes, a configuration has {}", fast.bytes(), new.bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn misbehaving_proxy_ends_its_own_stream_only() {
    let world = World::new().await;
    for name in ["good", "bad"] {
        world.dataplane(name).await;
    }
    let mut good = world.proxy("good").await;
    good.begin().await;
    good.next_clusters().await;
    let mut bad = world.proxy("bad").await;
    let flood: Vec<String> = (0..140_000).map(|n| n.to_string()).collect();
    let flood: Vec<&str> = flood.iter().map(String::as_str).collect();
    bad.ask(ResourceType::Endpoint, &flood).await;
    assert_eq!(bad.end().await.code(), Code::ResourceExhausted);
    world.service("api", 80).await;
    good.until_clusters(has("api")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn insight_tells_of_the_stream_from_its_start_to_its_end() {
    let world = World::new().await;
    world.dataplane("web").await;
    let insight = |state: &store::State| {
        let stored = state.get(&model::Key::new(INSIGHT, "default", "web"))?;
        stored.spec::<DataplaneInsight>().cloned()
    };
    let mut proxy = world.proxy("web").await;
    proxy.begin().await;
    proxy.next_clusters().await;
    world
        .until_stored(|state| {
            insight(state).is_some_and(|insight| {
                let status = insight.last_subscription().and_then(|s| s.status.clone()).unwrap_or_default();
                status.cds.is_some_and(|cds| cds.responses_acknowledged == 1)
            })
        })
        .await;
    let online = insight(&world.store.snapshot()).unwrap();
    assert!(online.is_online());
    assert_eq!(online.subscriptions[0].control_plane_instance_id, "cp-1");
    drop(proxy);
    world.until_stored(|state| insight(state).is_some_and(|insight| !insight.is_online())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_insight_is_not_written() {
    let world = World::with(Settings { status_flush_interval: Duration::from_millis(5), ..settings() }).await;
    world.dataplane("web").await;
    let mut proxy = world.proxy("web").await;
    proxy.begin().await;
    proxy.next_clusters().await;
    let listeners = proxy.next().await;
    proxy.answer(&listeners, None).await;
    world
        .until_stored(|state| {
            let stored = state.get(&model::Key::new(INSIGHT, "default", "web"));
            let status = stored.and_then(|s| s.spec::<DataplaneInsight>()?.last_subscription()?.status.clone());
            status.and_then(|s| s.total).is_some_and(|total| total.responses_acknowledged == 2)
        })
        .await;
    let settled = world.store.snapshot().revision();
    // Insights that are due are written together: one of a later stream would bring this one along.
    world.dataplane("later").await;
    let mut later = world.proxy("later").await;
    later.begin().await;
    later.next_clusters().await;
    let key = |name: &str| model::Key::new(INSIGHT, "default", name);
    let acknowledged = |state: &store::State, name: &str| {
        let insight = state.get(&key(name))?.spec::<DataplaneInsight>()?;
        Some(insight.last_subscription()?.status.as_ref()?.total.as_ref()?.responses_acknowledged)
    };
    world.until_stored(|state| acknowledged(state, "later").is_some_and(|count| count > 0)).await;
    let state = world.store.snapshot();
    assert!(state.get(&key("web")).unwrap().meta.version <= settled.0, "written again after {settled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_ends_streams_and_writes_their_end() {
    let world = World::new().await;
    world.dataplane("web").await;
    let mut proxy = world.proxy("web").await;
    proxy.begin().await;
    proxy.next_clusters().await;
    world.control_plane.drain(Duration::from_secs(5)).await;
    assert_eq!(proxy.end().await.code(), Code::Unavailable);
    let state = world.store.snapshot();
    let insight = state.get(&model::Key::new(INSIGHT, "default", "web")).unwrap();
    assert!(!insight.spec::<DataplaneInsight>().unwrap().is_online());
}
