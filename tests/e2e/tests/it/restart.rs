//! A control plane that goes away and comes back while requests flow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::world::{SOON, World, allow};

#[tokio::test]
async fn requests_go_on_while_the_control_plane_restarts_and_it_knows_everything_afterwards() -> Result<()> {
    let mut world = World::permitted("24h").await?;
    let before = world.control_plane.get("/meshes/default/meshservices/backend").await?;

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let port = world.client.outbound_port(0).unwrap_or_default();
    let calls = tokio::spawn(call_until(port, Arc::clone(&stop), Arc::clone(&answered)));
    until_more(&answered, 20).await;
    world.control_plane.process().kill().await?;
    until_more(&answered, 50).await;
    world.control_plane.start_again().await?;
    until_more(&answered, 50).await;

    let online = |overview: &Value| {
        let subscriptions = overview.pointer("/dataplaneInsight/subscriptions").and_then(Value::as_array);
        subscriptions.is_some_and(|all| all.iter().any(|s| s.get("disconnectTime").is_none()))
    };
    for name in ["client-1", "backend-1"] {
        let path = format!("/meshes/default/dataplanes/{name}/_overview");
        world.control_plane.until(&path, Duration::from_secs(90), online).await?;
    }
    let after = world.control_plane.get("/meshes/default/meshservices/backend").await?;
    assert_eq!(before.pointer("/status/vips"), after.pointer("/status/vips"));

    stop.store(true, Ordering::Release);
    let failed = calls.await?;
    assert_eq!(failed, Vec::<String>::new(), "of {} requests", answered.load(Ordering::Acquire));

    // What the restarted control plane sends is obeyed.
    world.control_plane.apply(&allow("Exact", "spiffe://default.default.mesh.local/workload/other")).await?;
    world.client.call_until(SOON, |status, _| status == 403).await?;
    Ok(())
}

/// Calls the backend through the client's Envoy until told to stop; what failed.
pub(crate) async fn call_until(port: u16, stop: Arc<AtomicBool>, answered: Arc<AtomicUsize>) -> Vec<String> {
    let mut failed = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    while !stop.load(Ordering::Acquire) {
        pace.tick().await;
        match sandbox::call(port, "/").await {
            Ok((200, _)) => {}
            other => failed.push(format!("{other:?}")),
        }
        answered.fetch_add(1, Ordering::AcqRel);
    }
    failed
}

pub(crate) async fn until_more(answered: &AtomicUsize, more: usize) {
    let goal = answered.load(Ordering::Acquire) + more;
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    while answered.load(Ordering::Acquire) < goal {
        looks.tick().await;
    }
}
