//! One writer while a snapshot of much content is taken, and while one is sent to a new replica.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use store::{Store, Txn};

use crate::group::{Group, until, write};
use crate::statistics::percentiles;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A folder on the disk that is measured
    #[arg(long, default_value = ".")]
    disk: PathBuf,
    /// Resources of 1 KB in the store
    #[arg(long, default_value_t = 50_000)]
    resources: u64,
}

/// After how many entries a snapshot is taken.
const SNAPSHOT_AFTER: u64 = 300;

pub(crate) async fn run(flags: &Flags) -> Result<Value> {
    let adapt = |settings| raft::Settings { snapshot_after_entries: SNAPSHOT_AFTER, entries_kept: 50, ..settings };
    let mut group = Group::of(3, &flags.disk, adapt).await?;
    let leader = group.leader().await?.clone();
    for chunk in 0..flags.resources / 100 {
        let fill = (0..100).map(|n| write(chunk * 100 + n, n)).collect::<Result<Vec<_>>>()?;
        let ops = fill.into_iter().flat_map(|txn| txn.ops).collect();
        leader.commit(Txn { ops, ..Txn::new() }).await?;
    }
    until(&leader, |status| status.snapshot_index + SNAPSHOT_AFTER >= status.last_log_index).await?;
    let (stop, phase) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = {
        let (store, stop, phase) = (leader.clone(), Arc::clone(&stop), Arc::clone(&phase));
        tokio::spawn(async move {
            let mut samples = [Vec::new(), Vec::new(), Vec::new()];
            while !stop.load(Ordering::Relaxed) {
                let start = Instant::now();
                store.commit(write(0, 1)?).await?;
                let phase = phase.load(Ordering::Relaxed) as usize;
                samples[phase].push(start.elapsed());
            }
            anyhow::Ok(samples)
        })
    };
    // Until two snapshots were taken under writes.
    tokio::time::sleep(Duration::from_secs(1)).await;
    phase.store(1, Ordering::Relaxed);
    let taken = leader.status().snapshot_index;
    until(&leader, |status| status.snapshot_index >= taken + 2 * SNAPSHOT_AFTER).await?;
    // A new replica gets a snapshot.
    phase.store(2, Ordering::Relaxed);
    let start = Instant::now();
    group.join(&adapt).await?;
    let joined_in = start.elapsed();
    stop.store(true, Ordering::Relaxed);
    let [quiet, taking, installing] = writer.await??;
    let figures = json!({
        "method": "one writer of 1 KB on three replicas in one process; a snapshot is taken every 300 entries by all three",
        "resources": flags.resources,
        "first_second": percentiles(quiet),
        "while_snapshots_are_taken": percentiles(taking),
        "while_one_is_installed": percentiles(installing),
        "joined_in_ms": joined_in.as_millis() as u64,
    });
    group.stop().await;
    Ok(figures)
}
