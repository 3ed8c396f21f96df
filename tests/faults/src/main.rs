//! The long run: all faults once, and then as many more as are asked for.

use anyhow::{Result, ensure};
use clap::Parser;
use faults::{Fault, Plan};

/// Runs three control planes with real Envoys under faults, and checks what clients saw.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Cli {
    /// How many faults follow after each kind was there once.
    #[arg(long, default_value_t = 30)]
    more: usize,
    /// One of each sort only, quickly.
    #[arg(long, conflicts_with = "more")]
    short: bool,
    /// These faults only, in this order; may be given several times.
    #[arg(long, conflicts_with_all = ["more", "short"])]
    only: Vec<Fault>,
    /// Gives each replica a network namespace of its own, so that what is cut is lost without a word; needs
    /// root.
    #[arg(long)]
    namespaces: bool,
    /// What clients and faults are drawn from.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let seed = cli.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let namespaces = cli.namespaces;
    let plan = match cli {
        Cli { short: true, .. } => Plan::short(seed),
        Cli { only, .. } if !only.is_empty() => Plan { faults: only, ..Plan::long(0, seed) },
        Cli { more, .. } => Plan::long(more, seed),
    };
    let report = faults::run(Plan { namespaces, ..plan }).await?;
    println!("{report}");
    ensure!(report.wrong.is_empty(), "the history is wrong; the same again with --seed {seed}");
    Ok(())
}
