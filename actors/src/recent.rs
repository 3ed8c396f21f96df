//! How long the latest changes took to reach proxies, for the status of the control plane.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many of the latest are remembered.
const REMEMBERED: usize = 1024;

/// Percentiles over the latest changes that proxies answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecentPropagation {
    /// How many there are; at most some thousand.
    pub count: usize,
    /// Half took at most this.
    pub p50: Duration,
    /// 99 of 100 took at most this.
    pub p99: Duration,
}

/// A window over the latest.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    took: Mutex<VecDeque<Duration>>,
}

impl Recent {
    /// A proxy answered a change, so long after its commit.
    pub(crate) fn record(&self, took: Duration) {
        let mut all = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(took);
    }

    /// The percentiles now.
    pub(crate) fn percentiles(&self) -> RecentPropagation {
        let mut sorted: Vec<_> = self.took.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        sorted.sort_unstable();
        let count = sorted.len();
        let at = |percent: usize| sorted.get((count * percent / 100).min(count.saturating_sub(1))).copied();
        RecentPropagation { count, p50: at(50).unwrap_or_default(), p99: at(99).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_latest() {
        let recent = Recent::default();
        assert_eq!(recent.percentiles(), RecentPropagation::default());
        (1..=2000).map(Duration::from_millis).for_each(|took| recent.record(took));
        let found = recent.percentiles();
        assert_eq!((found.count, found.p50.as_millis(), found.p99.as_millis()), (1024, 1489, 1990));
    }
}
