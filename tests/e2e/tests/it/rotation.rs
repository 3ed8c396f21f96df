//! Certificates that are renewed while requests flow.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::world::World;

#[tokio::test]
async fn certificates_are_renewed_before_they_expire_without_a_failed_request() -> Result<()> {
    let world = World::permitted("15s").await?;
    let first = serial(&world).await?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    let mut renewed = 0;
    let mut current = first;
    while renewed < 2 {
        let (status, body) = world.client.call("/").await?;
        anyhow::ensure!(status == 200, "a request failed with {status}: {body}");
        let now = serial(&world).await?;
        if now != current {
            renewed += 1;
            current = now;
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "renewed {renewed} times only");
    }
    Ok(())
}

/// The serial number of the client's certificate.
async fn serial(world: &World) -> Result<String> {
    let certificates: serde_json::Value = serde_json::from_str(&world.client.admin("/certs").await?)?;
    let all = certificates.get("certificates").and_then(|v| v.as_array());
    let serials = all.into_iter().flatten().filter_map(|c| c.pointer("/cert_chain/0/serial_number")?.as_str());
    serials.map(str::to_owned).next().context("Envoy has no certificate")
}
