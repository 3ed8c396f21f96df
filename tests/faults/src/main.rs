//! The long run: all faults once, and then as many more as are asked for.

use anyhow::{Result, ensure};
use clap::Parser;

/// Runs three control planes with real Envoys under faults, and checks what clients saw.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Cli {
    /// How many faults follow after each kind was there once.
    #[arg(long, default_value_t = 30)]
    more: usize,
    /// What clients and faults are drawn from.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let seed = cli.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let report = faults::run(faults::Plan { more_faults: cli.more, seed }).await?;
    println!("{report:#?}");
    ensure!(report.wrong.is_empty(), "the history is wrong: faults --seed {seed} --more {}", cli.more);
    Ok(())
}
