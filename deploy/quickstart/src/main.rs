//! A mesh of real Envoys on this machine, from nothing to an answered request.

mod story;

use std::process::ExitCode;

use clap::Parser;

/// Starts a control plane, two services and a client behind real Envoys, and shows identities, mTLS
/// and a permission at work. Everything runs on loopback, without root, in one temporary folder.
#[derive(Debug, Parser)]
#[command(name = "quickstart")]
struct Cli {
    /// Stop when everything was shown, instead of waiting for Ctrl-C
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match story::tell(Cli::parse().once).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nError: {error:#}");
            ExitCode::FAILURE
        }
    }
}
