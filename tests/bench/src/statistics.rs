//! Percentiles, and what the disk can do.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

/// How often the disk is asked to sync.
const SYNCS: usize = 200;

/// A figure in milliseconds with three digits.
pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Percentiles in milliseconds.
pub(crate) fn percentiles(mut samples: Vec<Duration>) -> Value {
    samples.sort();
    let at = |percent: usize| samples.get((samples.len() * percent / 100).min(samples.len() - 1)).copied();
    let shown = |percent| at(percent).map(ms);
    json!({
        "samples": samples.len(), "p50_ms": shown(50), "p90_ms": shown(90), "p99_ms": shown(99),
        "max_ms": samples.last().copied().map(ms),
    })
}

/// How long the disk under `dir` takes to make an append of 4 KB durable.
pub(crate) fn fsyncs(dir: &Path) -> Result<Vec<Duration>> {
    let mut file = File::create(dir.join("fsync"))?;
    let mut samples = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[1; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        samples.push(start.elapsed());
    }
    Ok(samples)
}
