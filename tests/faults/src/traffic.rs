//! Two workloads behind real Envoys; one calls the other all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use sandbox::{ControlPlane, Outbound, Proxy, ProxySettings, Workload};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::group::{Group, PATIENCE};

/// Pause between two calls.
const PAUSE: Duration = Duration::from_millis(20);

/// Proxies with traffic.
pub(crate) struct Traffic {
    calls: JoinHandle<Vec<String>>,
    answered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    proxies: [Proxy; 2],
    _workload: Workload,
}

impl Traffic {
    /// Starts the proxies, which find the replicas behind the door of the group.
    pub(crate) async fn start(group: &mut Group) -> Result<Self> {
        let door = group.door.port();
        let founder = group.places()[0];
        group.control_plane(founder)?.behind(door);
        let workload = Workload::start("backend").await?;
        let backend = ProxySettings::service("default", "backend-1", "backend", workload.port());
        permit(group.control_plane(founder)?).await?;
        let backend = launch(group, &backend).await?;
        let client = ProxySettings {
            workload_port: None,
            outbounds: vec![Outbound { kind: "MeshService", name: "backend".to_owned(), port: backend.inbound_port() }],
            ..ProxySettings::service("default", "client-1", "client", 0)
        };
        let client = launch(group, &client).await?;
        client.call_until(PATIENCE, |status, _| status == 200).await.context("the client is not let in")?;
        let (answered, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let port = client.outbound_port(0).context("no outbound")?;
        let calls = tokio::spawn(call_on(port, Arc::clone(&answered), Arc::clone(&stop)));
        Ok(Self { calls, answered, stop, proxies: [backend, client], _workload: workload })
    }

    /// Ends the traffic; how many calls there were, and what failed.
    pub(crate) async fn finish(self) -> Result<(u64, Vec<String>)> {
        self.stop.store(true, Ordering::Release);
        let failed = self.calls.await.context("the caller failed")?;
        for mut proxy in self.proxies {
            proxy.process().stop().await?;
        }
        Ok((self.answered.load(Ordering::Acquire), failed))
    }
}

async fn permit(control_plane: &ControlPlane) -> Result<()> {
    let identity = json!({
        "type": "MeshIdentity", "mesh": "default", "name": "identity",
        "spec": {
            "selector": {"dataplane": {"matchLabels": {}}},
            "provider": {"type": "Bundled", "bundled": {
                "autogenerate": {"enabled": true}, "insecureAllowSelfSigned": true,
            }},
        },
    });
    let value = "spiffe://default.default.mesh.local";
    let allow = json!([{"default": {"allow": [{"spiffeID": {"type": "Prefix", "value": value}}]}}]);
    let permission =
        json!({"type": "MeshTrafficPermission", "mesh": "default", "name": "allow", "spec": {"rules": allow}});
    control_plane.apply(&identity).await?;
    control_plane.apply(&permission).await
}

async fn launch(group: &mut Group, settings: &ProxySettings) -> Result<Proxy> {
    let founder = group.places()[0];
    let sandbox = Arc::clone(&group.sandbox);
    let mut proxy = Proxy::launch(&sandbox, group.control_plane(founder)?, settings).await?;
    proxy.ready().await?;
    Ok(proxy)
}

async fn call_on(port: u16, answered: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut failed = Vec::new();
    while !stop.load(Ordering::Acquire) {
        match sandbox::call(port, "/").await {
            Ok((200, _)) => {}
            other => failed.push(format!("{other:?}")),
        }
        answered.fetch_add(1, Ordering::AcqRel);
        tokio::time::sleep(PAUSE).await;
    }
    failed
}
