//! The log of `kuma-cp` and `kuma-dp`: Kuma's console lines, on standard error or in files that rotate.

mod line;
mod rotate;

use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};
use tracing_subscriber::fmt::writer::BoxMakeWriter;

pub use line::ConsoleLine;
pub use rotate::{Limits, RotatingFile};

/// Where the log goes: the file at `path`, or standard error when that is empty. Which file it is, is
/// told on standard output, as Kuma does.
///
/// # Errors
/// The file cannot be opened.
pub fn writer(program: &str, path: &str, limits: Limits) -> Result<BoxMakeWriter> {
    if path.is_empty() {
        return Ok(BoxMakeWriter::new(std::io::stderr));
    }
    let path = std::path::absolute(Path::new(path))?;
    println!("{program}: logs will be stored in {path:?}");
    let file = RotatingFile::open(&path, limits);
    let file = file.with_context(|| format!("--log-output-path: could not open {path:?}"))?;
    Ok(BoxMakeWriter::new(Mutex::new(file)))
}
