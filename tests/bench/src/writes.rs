//! Writes on three replicas on one disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use raft::RaftStore;
use serde_json::{Value, json};
use store::Store;

use crate::group::{Group, write};
use crate::statistics::{fsyncs, ms, percentiles};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A folder on the disk that is measured
    #[arg(long, default_value = ".")]
    disk: PathBuf,
    /// Seconds for each number of writers
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

pub(crate) async fn run(flags: &Flags) -> Result<Value> {
    let group = Group::of(3, &flags.disk, |settings| settings).await?;
    let leader = group.leader().await?.clone();
    let before = fsyncs(group.dir.path())?;
    let one = measure(&leader, 1, flags.seconds).await?;
    let many = measure(&leader, 256, flags.seconds).await?;
    let after = fsyncs(group.dir.path())?;
    let status = leader.status();
    let figures = json!({
        "method": "three replicas in one process over mutual TLS on one disk; writers commit at the leader's store",
        "fsync_of_the_disk": percentiles(before.into_iter().chain(after).collect()),
        "fsync_of_the_log": {"p50_ms": ms(status.fsync.p50), "p99_ms": ms(status.fsync.p99)},
        "one_writer": one,
        "writers_256": many,
    });
    group.stop().await;
    Ok(figures)
}

/// So many writers, each of which writes again when it was acknowledged.
async fn measure(store: &RaftStore, writers: u64, seconds: u64) -> Result<Value> {
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, stop) = (store.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut samples = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let txn = write(writer * 16 + samples.len() as u64 % 16, samples.len() as u64)?;
                    let start = Instant::now();
                    store.commit(txn).await?;
                    samples.push(start.elapsed());
                }
                anyhow::Ok(samples)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let mut samples = Vec::new();
    for task in tasks {
        samples.extend(task.await??);
    }
    let took = start.elapsed();
    let rate = samples.len() as f64 / took.as_secs_f64();
    Ok(json!({"writes_per_second": rate.round(), "latency": percentiles(samples)}))
}
