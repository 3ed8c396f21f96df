//! Who has what.

use model::registry::MESH_SERVICE;
use store::Store;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn revision_is_pending_until_it_is_acknowledged() {
    let world = World::new().await;
    world.dataplane("web").await;
    let mut proxy = world.proxy("web").await;
    proxy.begin().await;
    proxy.accept(2).await;
    world.until(|control_plane| control_plane.proxies().iter().any(|proxy| proxy.answered.is_some())).await;

    let revision = world.service("api", 80).await;
    let change = proxy.next().await;
    world.until(|control_plane| control_plane.propagation(revision).concerned == 1).await;
    let propagation = world.control_plane.propagation(revision);
    assert_eq!((propagation.acked, propagation.pending.len()), (0, 1));
    assert_eq!(&*propagation.pending[0].name, "web");
    proxy.answer(&change, None).await;
    proxy.accept(1).await;
    world.until(|control_plane| control_plane.propagation(revision).acked == 1).await;

    let deletion = world.delete(MESH_SERVICE, "api").await;
    let change = proxy.next().await;
    assert_eq!(change.removed_resources.len(), 1);
    proxy.answer(&change, None).await;
    proxy.accept(1).await;
    world.until(|control_plane| control_plane.propagation(deletion).acked == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_revision_is_woken_by_the_answer() {
    let world = World::new().await;
    world.dataplane("web").await;
    let mut proxy = world.proxy("web").await;
    proxy.begin().await;
    proxy.accept(2).await;
    world.until(|control_plane| control_plane.standing().acked == 1).await;
    let next = store::Revision(world.store.snapshot().revision().0 + 1);
    let mut waits = Box::pin(world.control_plane.settled(Some(next)));
    assert!(futures::poll!(&mut waits).is_pending(), "there is no such revision yet");
    assert_eq!(world.service("api", 80).await, next);
    let change = proxy.next().await;
    assert!(futures::poll!(&mut waits).is_pending(), "the proxy has not answered");
    proxy.answer(&change, None).await;
    let mut proxy = proxy.accept_all();
    proxy.until(|_| true).await;
    tokio::time::timeout(crate::world::PATIENCE, waits).await.expect("woken");
    assert_eq!(world.control_plane.propagation(next).acked, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_dataplane_leaves_its_proxy_what_it_has_and_nobody_waits_for_it() {
    let world = World::new().await;
    world.dataplane("web").await;
    let mut proxy = world.proxy("web").await;
    proxy.begin().await;
    let _proxy = proxy.accept_all();
    world.until(|control_plane| control_plane.standing().acked == 1).await;
    let deletion = world.delete(model::registry::DATAPLANE, "web").await;
    let settled = world.control_plane.settled(Some(deletion));
    tokio::time::timeout(crate::world::PATIENCE, settled).await.expect("nothing to wait for");
    let propagation = world.control_plane.propagation(deletion);
    assert_eq!((propagation.concerned, propagation.acked), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn revision_that_concerns_nobody_is_everywhere_at_once() {
    let world = World::new().await;
    let _proxy = world.settled_proxy("web").await;
    let revision = world.put(model::registry::SECRET, "unused", serde_json::json!({"data": "eA=="})).await;
    world.until(|control_plane| control_plane.propagation(revision).folded).await;
    let propagation = world.control_plane.propagation(revision);
    assert_eq!((propagation.concerned, propagation.pending.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_is_reported_with_its_words_and_healed_by_the_next_version() {
    let world = World::new().await;
    let mut proxy = world.settled_proxy("web").await;
    let bad = world.service("api", 80).await;
    let change = proxy.next().await;
    proxy.answer(&change, Some("port is reserved")).await;
    proxy.accept(1).await;
    // The refusal is known at once; the revision is answered when its last response is.
    world
        .until(|control_plane| {
            let propagation = control_plane.propagation(bad);
            !propagation.rejected.is_empty() && propagation.pending.is_empty()
        })
        .await;
    let propagation = world.control_plane.propagation(bad);
    assert_eq!((propagation.concerned, propagation.acked, propagation.pending.len()), (1, 0, 0));
    let rejection = &propagation.rejected[0].refusals[0].rejection;
    assert_eq!(&*rejection.message, "port is reserved");
    assert!(rejection.name.contains("api"));

    world.dataplane("other").await;
    let good = world.service("api", 81).await;
    let mut proxy = proxy.accept_all();
    proxy.until(|clusters| clusters.keys().any(|name| name.contains("api"))).await;
    world
        .until(|control_plane| {
            let propagation = control_plane.propagation(good);
            propagation.acked == 1 && propagation.rejected.is_empty()
        })
        .await;
}
