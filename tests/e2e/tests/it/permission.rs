//! mTLS, who the peers are, and what they may do.

use anyhow::Result;

use crate::world::{SOON, World, allow};

#[tokio::test]
async fn nobody_is_let_in_without_a_permission_and_the_permitted_one_is_seen_by_name() -> Result<()> {
    let world = World::start("24h").await?;
    world.client.call_until(SOON, |status, body| status == 403 && body.contains("RBAC")).await?;

    let client = "spiffe://default.default.mesh.local/workload/client";
    world.control_plane.apply(&allow("Exact", client)).await?;
    let (_, body) = world.client.call_until(SOON, |status, _| status == 200).await?;
    assert_eq!(body, format!("backend saw {client}"));

    world.control_plane.apply(&allow("Exact", "spiffe://default.default.mesh.local/workload/other")).await?;
    world.client.call_until(SOON, |status, _| status == 403).await?;

    world.control_plane.apply(&allow("Exact", client)).await?;
    world.client.call_until(SOON, |status, _| status == 200).await?;
    world.control_plane.delete("/meshes/default/meshtrafficpermissions/allow").await?;
    world.client.call_until(SOON, |status, _| status == 403).await?;
    Ok(())
}

#[tokio::test]
async fn plain_text_does_not_pass_a_strict_inbound() -> Result<()> {
    let world = World::permitted("24h").await?;
    let port = world.backend.inbound_port();
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    let mut answer = Vec::new();
    // The connection is closed or reset; either way nothing of HTTP comes back.
    let _ended = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
    Ok(())
}
