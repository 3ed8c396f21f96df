//! Who leads, as the duties of the control plane see it.

use openraft::ServerState;
use store::Leadership;
use tokio::sync::watch;

use crate::types::Raft;

/// Publishes the leadership of this replica. It says `leads` only once everything is applied that
/// was in the log when the term began: a duty then sees every write acknowledged before.
pub(crate) fn start(raft: &Raft) -> watch::Receiver<Leadership> {
    let mut metrics = raft.metrics();
    let (sender, receiver) = watch::channel(Leadership { term: 0, leads: false });
    tokio::spawn(async move {
        let mut tracker = Tracker::default();
        loop {
            let now = {
                let metrics = metrics.borrow_and_update();
                tracker.observe(&Observation {
                    term: metrics.current_term,
                    elected: metrics.state == ServerState::Leader && metrics.running_state.is_ok(),
                    last: metrics.last_log_index,
                    applied: metrics.last_applied.map(|id| id.index),
                })
            };
            let changed = sender.send_if_modified(|known| std::mem::replace(known, now) != now);
            if changed {
                tracing::info!(term = now.term, leads = now.leads, "leadership changed");
            }
            if metrics.changed().await.is_err() || sender.is_closed() {
                let term = now.term;
                sender.send_replace(Leadership { term, leads: false });
                return;
            }
        }
    });
    receiver
}

struct Observation {
    term: u64,
    elected: bool,
    last: Option<u64>,
    applied: Option<u64>,
}

/// Remembers how long the log was when the term of a leader began.
#[derive(Default)]
struct Tracker {
    elected: Option<(u64, Option<u64>)>,
}

impl Tracker {
    fn observe(&mut self, seen: &Observation) -> Leadership {
        let leads = if seen.elected {
            let (_, target) = match self.elected {
                Some(known) if known.0 == seen.term => known,
                _ => *self.elected.insert((seen.term, seen.last)),
            };
            seen.applied >= target
        } else {
            self.elected = None;
            false
        };
        Leadership { term: seen.term, leads }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_leader_leads_once_it_has_applied_what_it_found() {
        let mut tracker = Tracker::default();
        let mut see = |term, elected, last, applied| {
            tracker.observe(&Observation { term, elected, last: Some(last), applied: Some(applied) }).leads
        };
        assert!(!see(1, false, 7, 5));
        assert!(!see(2, true, 8, 5));
        assert!(!see(2, true, 9, 7));
        assert!(see(2, true, 9, 8));
        assert!(see(2, true, 20, 8));
        assert!(!see(3, true, 21, 8));
        assert!(!see(3, false, 21, 21));
    }
}
