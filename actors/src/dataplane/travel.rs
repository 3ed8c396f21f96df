//! How long views take from their commit to a proxy's answer, and where the time goes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use model::Timestamp;

use crate::hub::Published;
use crate::recent::Recent;

/// How many views on their way are timed; of a proxy that is further behind some are not.
const VIEWS_LEN_MAX: usize = 16;

/// A view whose configuration was made and not answered yet.
#[derive(Debug)]
struct View {
    revision: u64,
    kind: &'static str,
    committed_at: Timestamp,
    made_at: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Travel {
    views: VecDeque<View>,
    /// The newest view that was timed.
    newest: u64,
}

impl Travel {
    /// The configuration of a view was made, from `started` until now. One that is made again for the
    /// same view, for a new certificate, does not count.
    pub(super) fn made(&mut self, published: &Published, started: Instant) {
        if published.revision.0 <= self.newest {
            return;
        }
        self.newest = published.revision.0;
        let made_at = Instant::now();
        hop("wake", started.saturating_duration_since(published.folded_at).as_secs_f64());
        hop("generate", made_at.saturating_duration_since(started).as_secs_f64());
        if self.views.len() < VIEWS_LEN_MAX {
            let (revision, kind, committed_at) = (published.revision.0, published.kind, published.committed_at);
            self.views.push_back(View { revision, kind, committed_at, made_at });
        }
    }

    /// The proxy answered everything up to `revision`; how many views that were.
    pub(super) fn answered(&mut self, revision: u64, recent: &Recent) -> usize {
        let before = self.views.len();
        while let Some(view) = self.views.pop_front_if(|view| view.revision <= revision) {
            hop("ack", view.made_at.elapsed().as_secs_f64());
            let total = Timestamp::now().duration_since(view.committed_at).as_secs_f64().max(0.0);
            metrics::histogram!(crate::metrics::PROPAGATION, "kind" => view.kind).record(total);
            recent.record(Duration::from_secs_f64(total));
        }
        before - self.views.len()
    }
}

fn hop(hop: &'static str, seconds: f64) {
    metrics::histogram!(crate::metrics::PROPAGATION_HOP, "hop" => hop).record(seconds);
}
