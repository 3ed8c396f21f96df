//! `kuma-cp`: the control plane. Configuration and wiring; what it does is in the other crates.

mod balance;
mod certificates;
mod ciphers;
mod cli;
mod connections;
mod defaults;
mod diagnostics;
mod disaster;
mod dp_server;
mod group;
mod http_server;
mod limits;
mod log;
mod log_levels;
mod mads;
mod note;
mod readiness;
mod run;
mod settings;
mod store;
mod timed_stream;
mod version;
mod vitals;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::cli::{Cli, Command, Migration};
use crate::settings::{Loaded, StoreSettings};

/// Exit code when the control plane cannot start or go on.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    match execute(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The disk that is full may be the one that this goes to.
            writeln!(std::io::stderr(), "Error: {error:#}").ok();
            ExitCode::from(FAILED)
        }
    }
}

fn execute(cli: Cli) -> Result<()> {
    let load = |file: Option<&Path>, join: &[String]| {
        settings::load(file, &|name| match name {
            "KUMA_STORE_RAFT_JOIN" if !join.is_empty() => Some(join.join(",")),
            _ => std::env::var(name).ok(),
        })
    };
    match cli.command {
        Command::Version { detailed } => version::print(detailed),
        Command::Migrate { direction: Migration::Up(flag) | Migration::Down(flag) } => {
            migrate(&load(flag.config_file.as_deref(), &[])?);
        }
        Command::Run(flags) => {
            let log_levels = log::start(&cli.log)?;
            let loaded = load(flags.config.config_file.as_deref(), &flags.join)?;
            runtime()?.block_on(run::run(loaded, log_levels))?;
        }
        Command::Restore(flags) => {
            let loaded = load(flags.config.config_file.as_deref(), &[])?;
            runtime()?.block_on(disaster::restore(&loaded.settings.store, &flags.file))?;
        }
        Command::Recover(flags) => {
            let loaded = load(flags.config.config_file.as_deref(), &[])?;
            runtime()?.block_on(disaster::recover(&loaded.settings.store))?;
        }
    }
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start the runtime")
}

/// There is no database: the store upgrades its own files when it opens them.
fn migrate(loaded: &Loaded) {
    let store = match loaded.settings.store {
        StoreSettings::Memory => "the memory store keeps nothing",
        StoreSettings::Raft { .. } => "the store upgrades its files when it opens them",
    };
    println!("Nothing to migrate for Kuma {}: {store}.", version::VERSION);
}
