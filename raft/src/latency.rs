//! The latest latencies of one operation, for the status and the metrics.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

const SAMPLES_MAX: usize = 1024;

/// A window over the latest samples. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Latency {
    metric: &'static str,
    samples: Arc<Mutex<VecDeque<Duration>>>,
}

/// Percentiles over the latest samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of the samples are at most this.
    pub p50: Duration,
    /// 99 of 100 samples are at most this.
    pub p99: Duration,
}

impl Latency {
    /// An empty window; samples also go to the histogram `metric`, in seconds.
    pub(crate) fn new(metric: &'static str) -> Self {
        Self { metric, samples: Arc::default() }
    }

    /// Adds a sample.
    pub(crate) fn record(&self, sample: Duration) {
        metrics::histogram!(self.metric).record(sample.as_secs_f64());
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// The percentiles now; zero without samples.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let mut sorted: Vec<_> = self.samples.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        sorted.sort_unstable();
        let at = |percent: usize| sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)));
        Percentiles { p50: at(50).copied().unwrap_or_default(), p99: at(99).copied().unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_latest_samples() {
        let latency = Latency::new("test");
        assert_eq!(latency.percentiles(), Percentiles::default());
        for ms in 1..=2048 {
            latency.record(Duration::from_millis(ms));
        }
        let found = latency.percentiles();
        assert_eq!((found.p50.as_millis(), found.p99.as_millis()), (1537, 2038));
    }
}
