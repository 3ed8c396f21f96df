//! Starts the log.

use anyhow::{Context, Result, bail};
use logging::{ConsoleLine, Limits};
use tracing_subscriber::filter::LevelFilter;

use crate::settings::flags::LogFlags;

/// Starts logging.
///
/// # Errors
/// An unknown level, or a file that cannot be opened.
pub(crate) fn start(flags: &LogFlags) -> Result<()> {
    let level = match flags.log_level.as_str() {
        "off" => LevelFilter::OFF,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        other => bail!("unknown log level {other:?}"),
    };
    let limits = Limits::of_flags(flags.log_max_size, flags.log_max_retained_files, flags.log_max_age);
    let writer = logging::writer("kuma-dp", &flags.log_output_path, limits)?;
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_writer(writer).event_format(ConsoleLine);
    tracing::subscriber::set_global_default(subscriber.finish()).context("logging was started twice")
}
