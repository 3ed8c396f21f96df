//! Measures a group of replicas: how quickly it writes beside what the disk can do in the same run,
//! how long it is without a leader, whether snapshots are felt, and what much content costs.

mod content;
mod group;
mod handover;
mod stalls;
mod statistics;
mod writes;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures a group of replicas. Results are JSON on standard output.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Writes of 1 KB on three replicas with 1 and 256 writers, and the disk's own fsync
    Writes(writes::Flags),
    /// Writes while snapshots are taken and installed
    Stalls(stalls::Flags),
    /// Kills the leader again and again: until the next write is acknowledged
    Failover(handover::Flags),
    /// Hands the leadership over again and again: until the next write is acknowledged
    Handover(handover::Flags),
    /// Restart and memory with 100,000 resources, and with 100,000 Dataplanes and 10,000 policies
    Content(content::Flags),
}

#[tokio::main]
async fn main() -> Result<()> {
    let figures = match Cli::parse().what {
        What::Writes(flags) => writes::run(&flags).await?,
        What::Stalls(flags) => stalls::run(&flags).await?,
        What::Failover(flags) => handover::run(&flags, handover::End::Killed).await?,
        What::Handover(flags) => handover::run(&flags, handover::End::HandedOver).await?,
        What::Content(flags) => content::run(&flags).await?,
    };
    println!("{}", serde_json::to_string_pretty(&figures)?);
    Ok(())
}
