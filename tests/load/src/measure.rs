//! The board that proxies report to, and percentiles.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// When a proxy counts in a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// It acknowledged anything.
    Anything,
    /// It acknowledged a response of this type with a resource whose name contains this.
    Resource(&'static str, String),
    /// It acknowledged a response of this type that removes such a resource.
    Removal(&'static str, String),
}

impl Goal {
    /// Whether this response meets it.
    fn is_met(&self, response: &DeltaDiscoveryResponse) -> bool {
        match self {
            Self::Anything => true,
            Self::Resource(ty, part) => {
                response.type_url == *ty && response.resources.iter().any(|resource| resource.name.contains(part))
            }
            Self::Removal(ty, part) => {
                response.type_url == *ty && response.removed_resources.iter().any(|name| name.contains(part))
            }
        }
    }
}

/// What a proxy remembers of the round that it last counted in.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    round: u64,
    is_counted: bool,
}

/// What all proxies of a run report to.
#[derive(Debug)]
pub(crate) struct Board {
    /// The round that is under way; 0 is none.
    round: AtomicU64,
    goal: RwLock<Goal>,
    /// How many proxies have met the goal in this round.
    reached: AtomicUsize,
    /// How many got anything at all in this round.
    woken: AtomicUsize,
    wanted: AtomicUsize,
    began: Mutex<Instant>,
    first: Mutex<Duration>,
    /// Responses since the beginning.
    pub(crate) responses: AtomicU64,
    /// Their bytes.
    pub(crate) bytes: AtomicU64,
    /// Bytes of resources in a version that the proxy had told to have.
    pub(crate) repeated_bytes: AtomicU64,
    /// Proxies that are completely configured.
    pub(crate) configured: AtomicUsize,
    /// Streams whose proxy came back and was answered.
    pub(crate) resumed: AtomicUsize,
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Board {
    fn default() -> Self {
        Self {
            round: AtomicU64::new(0),
            goal: RwLock::new(Goal::Anything),
            reached: AtomicUsize::new(0),
            woken: AtomicUsize::new(0),
            wanted: AtomicUsize::new(usize::MAX),
            began: Mutex::new(Instant::now()),
            first: Mutex::new(Duration::ZERO),
            responses: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            repeated_bytes: AtomicU64::new(0),
            configured: AtomicUsize::new(0),
            resumed: AtomicUsize::new(0),
            changed: Notify::new(),
        }
    }
}

impl Board {
    /// Begins a round that ends when `wanted` proxies have met the goal; each counts once in it.
    pub(crate) fn begin(&self, goal: Goal, wanted: usize) {
        *self.goal.write().unwrap_or_else(PoisonError::into_inner) = goal;
        self.reached.store(0, Ordering::SeqCst);
        self.woken.store(0, Ordering::SeqCst);
        self.wanted.store(wanted, Ordering::SeqCst);
        *lock(&self.began) = Instant::now();
        self.round.fetch_add(1, Ordering::SeqCst);
    }

    /// A proxy has acknowledged a response.
    pub(crate) fn acknowledged(&self, seen: &mut Seen, response: &DeltaDiscoveryResponse) {
        let round = self.round.load(Ordering::SeqCst);
        if seen.round != round {
            *seen = Seen { round, is_counted: false };
            self.woken.fetch_add(1, Ordering::SeqCst);
        }
        let is_met = || self.goal.read().unwrap_or_else(PoisonError::into_inner).is_met(response);
        if seen.is_counted || !is_met() {
            return;
        }
        seen.is_counted = true;
        let reached = self.reached.fetch_add(1, Ordering::SeqCst) + 1;
        if reached == 1 {
            *lock(&self.first) = lock(&self.began).elapsed();
        }
        if reached >= self.wanted.load(Ordering::SeqCst) {
            self.changed.notify_waiters();
        }
    }

    /// A proxy has all of its configuration.
    pub(crate) fn completed(&self) {
        self.configured.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// A proxy that came back was answered.
    pub(crate) fn resumed(&self) {
        self.resumed.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Waits until the round has ended.
    pub(crate) async fn until_reached(&self, limit: Duration) -> Result<Spread> {
        self.until(&self.reached, self.wanted.load(Ordering::SeqCst), limit).await?;
        let last = lock(&self.began).elapsed();
        Ok(Spread { first: *lock(&self.first), last })
    }

    /// Waits until a counter of the board is at `goal`.
    pub(crate) async fn until(&self, counter: &AtomicUsize, goal: usize, limit: Duration) -> Result<()> {
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

    /// How many proxies got anything in this round.
    pub(crate) fn woken(&self) -> usize {
        self.woken.load(Ordering::SeqCst)
    }

    /// Waits until nothing has come in for a while.
    pub(crate) async fn quiet(&self) {
        let mut last = self.responses.load(Ordering::SeqCst);
        let mut looks = tokio::time::interval(Duration::from_millis(400));
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

/// The value at a percentile of a list that is in order.
fn at(values: &[Duration], percent: usize) -> Duration {
    let at = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(at).copied().unwrap_or_default()
}

/// Milliseconds, to a hundredth.
pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

/// The median, the 99th percentile and the largest of these, in milliseconds.
pub(crate) fn percentiles(values: &mut [Duration]) -> Value {
    values.sort_unstable();
    json!({"p50": ms(at(values, 50)), "p99": ms(at(values, 99)), "max": ms(at(values, 100))})
}
