//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Universal control plane for a service mesh.
#[derive(Debug, Parser)]
#[command(name = "kuma-cp", about = "Control plane for service mesh", disable_version_flag = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to log.
#[derive(Debug, Args)]
pub(crate) struct LogFlags {
    /// Log level: one of off|info|debug.
    #[arg(long, global = true, default_value = "info")]
    pub(crate) log_level: String,
    /// Path to the file that will be filled with logs; without it they go to standard error.
    #[arg(long, global = true, default_value = "")]
    pub(crate) log_output_path: String,
    /// Maximum number of the old log files to retain.
    #[arg(long, global = true, default_value_t = 1000)]
    pub(crate) log_max_retained_files: usize,
    /// Maximum size in megabytes of a log file before it gets rotated.
    #[arg(long, global = true, default_value_t = 100)]
    pub(crate) log_max_size: u64,
    /// Maximum number of days to retain old log files.
    #[arg(long, global = true, default_value_t = 30)]
    pub(crate) log_max_age: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Launch Control Plane.
    Run(RunFlags),
    /// Migrate the store to which Control Plane is connected.
    Migrate {
        #[command(subcommand)]
        direction: Migration,
    },
    /// Make a new data directory from a backup; the control plane must not run.
    Restore(RestoreFlags),
    /// Go on alone from the last replica of a lost group; the control plane must not run.
    Recover(RecoverFlags),
    /// Print version.
    Version {
        /// Print detailed version.
        #[arg(long, short = 'a')]
        detailed: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Migration {
    /// Apply the newest schema to the store.
    Up(ConfigFlag),
    /// Return to an older schema.
    Down(ConfigFlag),
}

/// How to run.
#[derive(Debug, Args)]
pub(crate) struct RunFlags {
    #[command(flatten)]
    pub(crate) config: ConfigFlag,
    /// Replica of a group to join, as host:port; may be given several times (store.raft.join).
    #[arg(long)]
    pub(crate) join: Vec<String>,
}

/// What to restore.
#[derive(Debug, Args)]
pub(crate) struct RestoreFlags {
    #[command(flatten)]
    pub(crate) config: ConfigFlag,
    /// The backup, as `kumactl backup create` wrote it.
    pub(crate) file: PathBuf,
}

/// Whether to go on alone.
#[derive(Debug, Args)]
pub(crate) struct RecoverFlags {
    #[command(flatten)]
    pub(crate) config: ConfigFlag,
    /// That a majority of the group is lost for ever. If it still lives, both go on apart.
    #[arg(long, required = true)]
    pub(crate) group_is_lost: bool,
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct ConfigFlag {
    /// Configuration file.
    #[arg(long, short = 'c')]
    pub(crate) config_file: Option<PathBuf>,
}
