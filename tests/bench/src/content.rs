//! What much content costs: memory, and time to restart.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use model::{Key, Labels, Spec, registry};
use raft::{RaftStore, Settings};
use sandbox::{ControlPlane, ControlPlaneSettings, Sandbox};
use serde_json::{Value, json};
use store::{Store, Txn};

use crate::group::write;

/// Resources that are written in one transaction.
const BATCH: u64 = 500;

/// How long a control plane may take to be ready.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A folder on the disk that is measured
    #[arg(long, default_value = ".")]
    disk: PathBuf,
}

pub(crate) async fn run(flags: &Flags) -> Result<Value> {
    let dir = tempfile::tempdir_in(&flags.disk)?;
    let mut restarts = Vec::new();
    let empty_kib = resident_kib(std::process::id())?;
    let folder = dir.path().join("plain");
    fill(&folder, 100_000, |n| Ok(write(n, n)?.ops)).await?;
    for _ in 0..3 {
        let start = Instant::now();
        let store = RaftStore::open(Settings::new(&folder)).await?;
        restarts.push(start.elapsed());
        eprintln!("restart of the store: {} ms", start.elapsed().as_millis());
        anyhow::ensure!(store.snapshot().len() == 100_000, "resources are missing");
        store.shutdown().await;
    }
    let sandbox = Sandbox::new().await?;
    let mut control_plane = start(&sandbox, "empty").await?;
    let without = resident_kib(control_plane.process().id().context("it runs")?)?;
    control_plane.process().stop().await?;
    // The control plane fills the folder of the second one with what it needs itself.
    let mut control_plane = start(&sandbox, "mesh").await?;
    control_plane.process().stop().await?;
    let folder = control_plane.work_dir().join("data");
    fill(&folder, 100_000, dataplane).await?;
    fill(&folder, 10_000, policy).await?;
    let start = Instant::now();
    control_plane.launch_again()?;
    control_plane.ready(PATIENCE).await?;
    let ready_in = start.elapsed();
    let with = resident_kib(control_plane.process().id().context("it runs")?)?;
    let shown: Vec<_> = restarts.iter().map(|took| took.as_millis() as u64).collect();
    Ok(json!({
        "method": "restart: opening the store until it leads, 100,000 resources of 1 KB, three times; memory: VmRSS of kuma-cp, no proxies",
        "restart_of_the_store_ms": shown,
        "this_process_before_kib": empty_kib,
        "kuma_cp_empty_kib": without,
        "kuma_cp_with_100000_dataplanes_and_10000_policies_kib": with,
        "kuma_cp_with_that_ready_in_ms": ready_in.as_millis() as u64,
    }))
}

async fn start(sandbox: &Sandbox, name: &str) -> Result<ControlPlane> {
    ControlPlane::start(sandbox, name, ControlPlaneSettings::default()).await
}

/// Writes so many resources into the store of a folder, in few transactions.
async fn fill(folder: &std::path::Path, count: u64, make: impl Fn(u64) -> Result<Vec<store::Op>>) -> Result<()> {
    let settings = Settings { snapshot_after_entries: 100, entries_kept: 0, ..Settings::new(folder) };
    let store = RaftStore::open(settings).await?;
    for batch in 0..count / BATCH {
        let ops = (0..BATCH).map(|n| make(batch * BATCH + n)).collect::<Result<Vec<_>>>()?;
        store.commit(Txn { ops: ops.into_iter().flatten().collect(), ..Txn::new() }).await?;
    }
    store.shutdown().await;
    Ok(())
}

/// A Dataplane with one inbound, one of 100 of its service.
fn dataplane(n: u64) -> Result<Vec<store::Op>> {
    let address = format!("10.{}.{}.{}", n / 65_536, n / 256 % 256, n % 256);
    let service = format!("service-{}", n / 100);
    let spec = json!({"networking": {
        "address": address,
        "inbound": [{"port": 8080, "protocol": "http", "name": "main"}],
        "transparentProxying": {"redirectPortInbound": 15006, "redirectPortOutbound": 15001},
    }});
    let key = Key::new(registry::DATAPLANE, "default", &format!("proxy-{n}"));
    let labels = Labels::from([("kuma.io/workload".to_owned(), service)]);
    Ok(Txn::new().put(key, labels, decode(registry::DATAPLANE, spec)?).ops)
}

/// A timeout for the clients of one service.
fn policy(n: u64) -> Result<Vec<store::Op>> {
    let spec = json!({
        "targetRef": {"kind": "Dataplane", "labels": {"kuma.io/workload": format!("service-{}", n % 1000)}},
        "to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": format!("{}s", n % 100 + 1)}}],
    });
    let key = Key::new(registry::MESH_TIMEOUT, "default", &format!("timeout-{n}"));
    Ok(Txn::new().put(key, Labels::new(), decode(registry::MESH_TIMEOUT, spec)?).ops)
}

fn decode(kind: model::Kind, spec: Value) -> Result<Spec> {
    (kind.codec.decode)(spec).context("the spec is of its kind's shape")
}

/// The resident memory of a process.
fn resident_kib(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).context("no number")
}
