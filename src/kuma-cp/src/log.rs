//! The log: Kuma's console lines (time, level, logger, message, fields as JSON, between tabs).

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
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
    let writer = if flags.log_output_path.is_empty() {
        BoxMakeWriter::new(std::io::stderr)
    } else {
        let path = std::path::absolute(Path::new(&flags.log_output_path))?;
        println!("kuma-cp: logs will be stored in {path:?}");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        BoxMakeWriter::new(Arc::new(file.with_context(|| format!("--log-output-path: could not open {path:?}"))?))
    };
    // openraft tells each step of each election at the level at which operators read.
    let quiet = if level == LevelFilter::INFO { LevelFilter::WARN } else { level };
    let base = Targets::new().with_default(level).with_targets([("openraft", quiet), ("sled", quiet)]);
    let (filter, handle) = reload::Layer::new(base.clone());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).event_format(ConsoleLine);
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    subscriber.try_init().context("logging was started twice")?;
    Ok(LogLevels::new(handle, base))
}

struct ConsoleLine;

impl<S, N> FormatEvent<S, N> for ConsoleLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARN",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        let logger = event.metadata().target().replace("::", ".").replace('_', "-");
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ");
        write!(out, "{time}\t{level}\t{logger}\t{}", fields.message)?;
        if !fields.rest.is_empty() {
            let json = serde_json::to_string(&fields.rest).map_err(|_| fmt::Error)?;
            write!(out, "\t{json}")?;
        }
        writeln!(out)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: BTreeMap<&'static str, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => {
                self.rest.insert(name, value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
