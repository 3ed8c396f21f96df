//! What a process uses of the machine.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// CPU time and memory of a process so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Resident memory in KiB.
    pub(crate) rss_kib: u64,
    /// CPU time so far.
    pub(crate) cpu: Duration,
}

impl Usage {
    /// What a process uses now.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let rss_kib = rss.trim().trim_end_matches(" kB").parse().context("VmRSS")?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        // Fields 14 and 15 of proc(5), in hundredths of a second; two fields lie before the split.
        let cpu = Duration::from_millis((ticks(11) + ticks(12)) * 10);
        Ok(Self { rss_kib, cpu })
    }

    /// The CPU time since `before`, in seconds.
    pub(crate) fn cpu_s_since(self, before: Self) -> f64 {
        self.cpu.saturating_sub(before.cpu).as_secs_f64()
    }

    /// What results say of it, beside the CPU time since `before`.
    pub(crate) fn since(self, before: Self) -> Value {
        json!({"cpu_s": self.cpu_s_since(before), "rss_mib": self.rss_kib / 1024})
    }
}
