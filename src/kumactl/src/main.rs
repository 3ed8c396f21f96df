//! `kumactl`: the command line of a control plane.

mod cli;
mod client;
mod commands;
mod config;
mod key_values;
mod output;
mod resources;
mod usage;
mod version;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use jiff::Timestamp;

use crate::cli::{BackupCommand, Cli, Command, GlobalFlags};
use crate::client::Client;
use crate::config::ConfigFile;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    end_with_the_reader();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let Some(described) = usage::describe(&error) else {
                // What cannot be printed, cannot be reported either.
                error.print().ok();
                return ExitCode::SUCCESS;
            };
            eprintln!("Error: {described}");
            return ExitCode::FAILURE;
        }
    };
    match execute(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match error.downcast_ref::<client::ApiError>() {
                Some(api) => eprintln!("Error: {api}"),
                None => eprintln!("Error: {error:#}"),
            }
            let not_everywhere = error.downcast_ref::<commands::wait::NotEverywhere>();
            not_everywhere.map_or(ExitCode::FAILURE, |why| ExitCode::from(why.exit_code()))
        }
    }
}

async fn execute(cli: Cli) -> Result<()> {
    let Cli { global, command } = cli;
    start_log(&global.log_level)?;
    let file = ConfigFile::load(&global)?;
    let now = global.now.unwrap_or_else(Timestamp::now);
    let client = || connect(&file, &global);
    match command {
        Command::Config { command } => config::commands::run(command, file, global.api_timeout).await,
        Command::Version { detailed } => {
            version::print(client(), detailed).await;
            Ok(())
        }
        Command::Apply(flags) => commands::apply::run(&flags, client()).await,
        Command::Wait(flags) => commands::wait::run(&flags, &client()?).await,
        Command::Raft { command } => commands::raft::run(&command, &client()?).await,
        Command::Backup { command: BackupCommand::Create { file } } => {
            commands::backup::create(&file, &client()?).await
        }
        Command::Backup { command: BackupCommand::Restore { file } } => {
            commands::backup::restore(&file, &client()?).await
        }
        Command::Status => commands::raft::status(&client()?).await,
        Command::Generate { command } => {
            let client = client();
            if let Ok(client) = &client {
                version::check(client).await;
            }
            commands::generate::run(command, client).await
        }
        Command::Export(flags) => commands::export::run(&flags, &client()?).await,
        Command::Delete(flags) => commands::delete::run(&flags, &checked(client()?).await).await,
        Command::Get(flags) => commands::get::run(&flags, &checked(client()?).await, now).await,
        Command::Inspect(flags) => commands::inspect::run(&flags, &checked(client()?).await, now).await,
    }
}

/// A reader that has seen enough (`| head`) is no fault: printing to it panics, and that ends quietly.
fn end_with_the_reader() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str().is_some_and(|text| text.contains("Broken pipe")) {
            std::process::exit(0);
        }
        others(panic);
    }));
}

/// A client of the active control plane.
fn connect(file: &ConfigFile, global: &GlobalFlags) -> Result<Client> {
    let control_plane = file.config.active(&global.context)?;
    Client::new(&control_plane.coordinates.api_server, global.api_timeout)
}

/// The client, after a word on versions that do not fit.
async fn checked(client: Client) -> Client {
    version::check(&client).await;
    client
}

fn start_log(level: &str) -> Result<()> {
    let level = match level {
        "off" => return Ok(()),
        "info" => tracing::Level::INFO,
        "debug" => tracing::Level::DEBUG,
        other => bail!("unknown log level {other:?}"),
    };
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).finish();
    tracing::subscriber::set_global_default(subscriber).context("logging was started twice")
}
