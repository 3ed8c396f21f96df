//! What is seen of a proxy: its own admin API through the control plane, and its metrics.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::world::{SOON, World};

#[tokio::test]
async fn a_proxy_shows_its_configuration_and_its_metrics() -> Result<()> {
    let world = World::permitted("24h").await?;
    let dump = world.control_plane.get("/meshes/default/dataplanes/backend-1/xds").await?;
    ensure!(dump["configs"].as_array().is_some_and(|configs| !configs.is_empty()), "{dump}");
    ensure!(!dump.to_string().contains("eyJ"), "the proxy's token is shown");

    // The port is free now; whoever takes it meanwhile fails the test, which is as rare as it gets.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let metrics = json!({
        "type": "MeshMetric",
        "mesh": "default",
        "name": "metrics",
        "spec": {
            "targetRef": {"kind": "Dataplane", "labels": {"kuma.io/workload": "backend"}},
            "default": {"backends": [{"type": "Prometheus", "prometheus": {"port": port, "path": "/metrics"}}]},
        },
    });
    world.control_plane.apply(&metrics).await?;
    let http = reqwest::Client::builder().no_proxy().build().context("an HTTP client")?;
    let scraped = async {
        loop {
            let answer = http.get(format!("http://127.0.0.1:{port}/metrics")).send().await;
            if let Ok(answer) = answer
                && let Ok(text) = answer.text().await
                && text.contains("envoy_http_downstream_rq")
                && text.contains("kuma_workload=\"backend\"")
            {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, scraped).await.context("no metrics of Envoy")
}
