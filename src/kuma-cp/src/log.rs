//! Starts the log, with levels that can be changed while it runs.

use anyhow::{Context, Result, anyhow};
use logging::{ConsoleLine, Limits};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::LogFlags;
use crate::log_levels::{self, LogLevels};

/// Starts logging; the handle changes levels later.
///
/// # Errors
/// An unknown level, or a file that cannot be opened.
pub(crate) fn start(flags: &LogFlags) -> Result<LogLevels> {
    let level = log_levels::level(&flags.log_level).map_err(|_| anyhow!("unknown log level {:?}", flags.log_level))?;
    let limits = Limits::of_flags(flags.log_max_size, flags.log_max_retained_files, flags.log_max_age);
    let writer = logging::writer("kuma-cp", &flags.log_output_path, limits)?;
    // openraft tells each message that was lost, several times and as errors. The crate `raft` tells who does not
    // answer, who leads, and why a replica ends.
    let openraft = if level <= LevelFilter::INFO { LevelFilter::OFF } else { level };
    let sled = level.min(LevelFilter::WARN);
    let base = Targets::new().with_default(level).with_targets([("openraft", openraft), ("sled", sled)]);
    let (filter, handle) = reload::Layer::new(base.clone());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).event_format(ConsoleLine);
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    subscriber.try_init().context("logging was started twice")?;
    Ok(LogLevels::new(handle, base))
}
