//! `kuma-dp`: the agent beside a workload. It registers the workload's Dataplane, gets Envoy's
//! bootstrap from the control plane, runs Envoy, watches it, drains it and stops it, and gives it
//! what it needs on this machine: DNS, readiness, access logs, dynamic configuration.

mod access_log;
mod bootstrap;
mod dataplane;
mod dns;
mod dynamic_config;
mod envoy;
mod go_duration;
mod http;
mod lifecycle;
mod log;
mod machine;
mod metrics;
mod otel;
mod probes;
mod readiness;
mod run;
mod settings;
mod token;
mod version;
mod wait;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::settings::flags::{Cli, Command};

fn main() -> ExitCode {
    match execute(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    // Becoming Envoy must not wait for a runtime, and must not have threads.
    if let Command::ExecEnvoy { parent, command } = &cli.command {
        return Err(envoy::process::exec_tied_to_parent(*parent, command));
    }
    log::start(&cli.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("could not start the runtime")?;
    match cli.command {
        Command::Run(flags) => runtime.block_on(run::run(*flags, &cli.log.log_level)),
        Command::Wait(flags) => runtime.block_on(wait::run(&flags)),
        Command::Version { detailed } => {
            version::print(detailed);
            Ok(())
        }
        Command::ExecEnvoy { .. } => Ok(()),
    }
}
