//! What is measured: acknowledgements of a round, percentiles, and a process's use of the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::Notify;

/// What all proxies of a run report to.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// The round that is under way; 0 is none.
    round: AtomicU64,
    /// How many proxies have acknowledged something in this round.
    reached: AtomicUsize,
    /// When the first one did, in nanoseconds since the round began.
    first_nanos: AtomicU64,
    /// Responses since the beginning.
    pub(crate) responses: AtomicU64,
    /// Their bytes.
    pub(crate) bytes: AtomicU64,
    /// Proxies that are completely configured.
    pub(crate) configured: AtomicUsize,
    began: std::sync::Mutex<Option<Instant>>,
    changed: Notify,
}

/// How a change spread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// Until the first proxy had acknowledged.
    pub(crate) first: Duration,
    /// Until the last one had.
    pub(crate) last: Duration,
}

impl Board {
    /// Begins a round; proxies count once in it.
    pub(crate) fn begin(&self) {
        self.reached.store(0, Ordering::SeqCst);
        self.first_nanos.store(0, Ordering::SeqCst);
        *self.began.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
        self.round.fetch_add(1, Ordering::SeqCst);
    }

    /// A proxy has acknowledged something; `seen` is the round that it counted in last.
    pub(crate) fn acknowledged(&self, seen: &mut u64) {
        let round = self.round.load(Ordering::SeqCst);
        if *seen == round {
            return;
        }
        *seen = round;
        if self.reached.fetch_add(1, Ordering::SeqCst) == 0 {
            let began = *self.began.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let nanos = began.map_or(0, |began| began.elapsed().as_nanos());
            self.first_nanos.store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
        self.changed.notify_waiters();
    }

    /// A proxy has all of its configuration.
    pub(crate) fn completed(&self) {
        self.configured.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Waits until so many proxies have acknowledged in this round.
    pub(crate) async fn until_reached(&self, proxies: usize, limit: Duration) -> Result<Spread> {
        self.until(&self.reached, proxies, limit).await?;
        let began = *self.began.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let last = began.context("no round")?.elapsed();
        Ok(Spread { first: Duration::from_nanos(self.first_nanos.load(Ordering::SeqCst)), last })
    }

    /// Waits until so many proxies are completely configured.
    pub(crate) async fn until_configured(&self, proxies: usize, limit: Duration) -> Result<()> {
        self.until(&self.configured, proxies, limit).await
    }

    async fn until(&self, counter: &AtomicUsize, goal: usize, limit: Duration) -> Result<()> {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if counter.load(Ordering::SeqCst) >= goal {
                    return;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(limit, waiting).await {
            Ok(()) => Ok(()),
            Err(_) => bail!("{} of {goal} proxies after {limit:?}", counter.load(Ordering::SeqCst)),
        }
    }

    /// How many proxies have acknowledged in this round.
    pub(crate) fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }

    /// Waits until nothing has come in for a while.
    pub(crate) async fn quiet(&self) {
        let mut last = self.responses.load(Ordering::SeqCst);
        let mut looks = tokio::time::interval(Duration::from_millis(300));
        looks.tick().await;
        loop {
            looks.tick().await;
            let now = self.responses.load(Ordering::SeqCst);
            if now == last {
                return;
            }
            last = now;
        }
    }
}

/// A shared board.
pub(crate) type SharedBoard = Arc<Board>;

/// The value at a percentile of a list, in milliseconds.
pub(crate) fn percentile_ms(values: &mut [Duration], percent: usize) -> f64 {
    values.sort_unstable();
    let at = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(at).map_or(0.0, |value| value.as_secs_f64() * 1000.0)
}

/// What a process uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Resident memory in KiB.
    pub(crate) rss_kib: u64,
    /// CPU time so far.
    pub(crate) cpu: Duration,
}

/// What a process uses now.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let rss_kib = rss.trim().trim_end_matches(" kB").parse().context("VmRSS")?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    // Fields 14 and 15 of proc(5), in hundredths of a second; two fields lie before the split.
    let cpu = Duration::from_millis((ticks(11) + ticks(12)) * 10);
    Ok(Usage { rss_kib, cpu })
}
