//! The load tool: simulated proxies on real TLS delta streams against a real control plane, and a
//! bare server that pushes bytes of the same size to the same streams, so that every figure is also
//! a ratio to what this machine can do at all in that run.

mod changes;
mod churn;
mod fleet;
mod floor;
mod floor_run;
mod measure;
mod plan;
mod proxy;
mod rounds;
mod run;
mod storm;
mod target;
mod tls;
mod usage;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures a control plane under many proxies. Results are JSON on standard output.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a control plane, connects proxies and runs scenarios
    Run(plan::Plan),
    /// The bare server: pushes as many bytes as it is told to all its streams
    Floor(floor::Flags),
}

#[tokio::main]
async fn main() -> Result<()> {
    // An error says that this process has chosen its TLS implementation before.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    match Cli::parse().command {
        Command::Run(plan) => run::run(plan).await,
        Command::Floor(flags) => floor::serve(flags).await,
    }
}
