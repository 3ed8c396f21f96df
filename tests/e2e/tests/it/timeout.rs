//! A policy that changes what Envoy does with a request.

use anyhow::Result;
use serde_json::json;

use crate::world::{SOON, World};

#[tokio::test]
async fn a_request_timeout_ends_slow_requests_and_its_removal_lets_them_through() -> Result<()> {
    let world = World::permitted("24h").await?;
    assert_eq!(world.client.call("/after/600").await?.0, 200);
    let timeout = json!({
        "type": "MeshTimeout",
        "mesh": "default",
        "name": "short",
        "spec": {"to": [{
            "targetRef": {"kind": "MeshService", "labels": {"kuma.io/display-name": "backend"}},
            "default": {"http": {"requestTimeout": "200ms"}},
        }]},
    });
    world.control_plane.apply(&timeout).await?;
    until_status(&world, 504).await?;
    world.control_plane.delete("/meshes/default/meshtimeouts/short").await?;
    until_status(&world, 200).await
}

/// Waits until slow requests end with a status.
async fn until_status(world: &World, expected: u16) -> Result<()> {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let (status, body) = world.client.call("/after/600").await?;
        if status == expected {
            return Ok(());
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "still {status}: {body}");
    }
}
