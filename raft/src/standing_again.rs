//! A leader that is deposed by a candidate that cannot win stands for election again at once.
//!
//! A follower that was cut off, or asleep, comes back as a candidate of a later term. It has too short a log
//! to be elected, but it takes no entries from a leader of an earlier term either, so that leader must go.
//! Then all would wait for an election timeout. But the one that came back votes for whoever has more: in a
//! group of three its vote and the former leader's are a majority.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::ServerState;
use tokio::time::Instant;

use crate::types::Raft;

/// The last term in which a replica voted for another one. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Granted(Arc<AtomicU64>);

impl Granted {
    /// It voted for another one.
    pub(crate) fn in_term(&self, term: u64) {
        self.0.fetch_max(term, Ordering::AcqRel);
    }

    fn is(&self, term: u64) -> bool {
        self.0.load(Ordering::Acquire) == term
    }
}

/// Has a leader stand again when it leads no more, though a majority has answered it within the `lease`, in
/// which that majority elects nobody, and it has not itself voted for another one. Not when it hands over,
/// as `hands_over` tells. Until the replica stops.
pub(crate) async fn whenever_deposed(raft: Raft, granted: Granted, lease: Duration, hands_over: impl Fn() -> bool) {
    let mut metrics = raft.metrics();
    let mut answered = None;
    loop {
        let (is_deposed, term) = {
            let now = metrics.borrow_and_update();
            if now.state == ServerState::Leader {
                let ago = now.millis_since_quorum_ack.map(Duration::from_millis);
                answered = ago.and_then(|ago| Instant::now().checked_sub(ago));
                (false, now.current_term)
            } else {
                let was_heard = answered.take().is_some_and(|at| at.elapsed() < lease);
                (was_heard && now.current_leader.is_none(), now.current_term)
            }
        };
        if is_deposed && !granted.is(term) && !hands_over() {
            tracing::info!(term, "deposed by a candidate that has less, standing for election again");
            if raft.trigger().elect().await.is_err() {
                return;
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
