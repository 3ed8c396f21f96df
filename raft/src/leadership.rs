//! Who leads, as the duties of the control plane and its writers see it.

use std::time::Duration;

use openraft::{RaftMetrics, ServerState};
use store::Leadership;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::appends::Announcer;
use crate::types::{Raft, Replica, ReplicaId};

/// Of the time after which a silent majority is noticed: how long a leader that was asleep itself has
/// to ask again.
const GRACE_DIVISOR: u32 = 4;

/// Silences after which a leader that hears of no majority looks whether one is back. It is longer
/// than any election takes to begin, so that those who only hear can elect another.
const PROBE_FACTOR: u32 = 2;

/// Who leads this replica, as far as it can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    /// The leader; itself only while a majority answers.
    pub(crate) leader: Option<ReplicaId>,
    /// Since when.
    pub(crate) since: Instant,
    /// It was elected, but no majority answers it any more: what it proposes has no known outcome.
    pub(crate) is_cut_off: bool,
}

impl Contact {
    pub(crate) fn none() -> Self {
        Self { leader: None, since: Instant::now(), is_cut_off: false }
    }
}

/// Where a replica publishes whom it follows.
#[derive(Debug)]
pub(crate) struct Watches {
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) contact: watch::Receiver<Contact>,
}

/// Publishes the leadership of this replica. It says `leads` only once everything is applied that
/// was in the log when the term began: a duty then sees every write acknowledged before. A leader that
/// no majority has answered for `silence` does not lead any more, as long as that lasts.
pub(crate) fn start(raft: &Raft, silence: Duration, announcer: Announcer) -> Watches {
    let mut metrics = raft.metrics();
    let (sender, leadership) = watch::channel(Leadership { term: 0, leads: false });
    let (contacts, contact) = watch::channel(Contact::none());
    tokio::spawn(async move {
        let mut tracker = Tracker::new(silence);
        loop {
            let (now, leader) = {
                let metrics = metrics.borrow_and_update();
                (tracker.observe(&Observation::of(&metrics)), metrics.current_leader)
            };
            let is_cut_off = tracker.is_cut_off();
            announcer.hold(is_cut_off.then_some(silence * PROBE_FACTOR));
            contacts.send_if_modified(|known| {
                let leader = leader.filter(|_| !is_cut_off);
                let changed = (known.leader, known.is_cut_off) != (leader, is_cut_off);
                if changed {
                    let since = if known.leader == leader { known.since } else { Instant::now() };
                    *known = Contact { leader, since, is_cut_off };
                }
                changed
            });
            let changed = sender.send_if_modified(|known| std::mem::replace(known, now) != now);
            if changed {
                tracing::info!(term = now.term, leads = now.leads, is_cut_off, "leadership changed");
            }
            if metrics.changed().await.is_err() || sender.is_closed() {
                let term = now.term;
                sender.send_replace(Leadership { term, leads: false });
                return;
            }
        }
    });
    Watches { leadership, contact }
}

struct Observation {
    at: Instant,
    term: u64,
    elected: bool,
    last: Option<u64>,
    applied: Option<u64>,
    /// How long ago a majority answered this leader; `None` before it did.
    answered: Option<Duration>,
}

impl Observation {
    fn of(metrics: &RaftMetrics<ReplicaId, Replica>) -> Self {
        Self {
            at: Instant::now(),
            term: metrics.current_term,
            elected: metrics.state == ServerState::Leader && metrics.running_state.is_ok(),
            last: metrics.last_log_index,
            applied: metrics.last_applied.map(|id| id.index),
            answered: metrics.millis_since_quorum_ack.map(Duration::from_millis),
        }
    }
}

/// A term that this replica leads.
#[derive(Clone, Copy)]
struct Term {
    term: u64,
    /// How long the log was when it began.
    target: Option<u64>,
    since: Instant,
    /// When it was first noticed that nobody answers.
    silent_since: Option<Instant>,
}

/// Remembers how the term of a leader began, and whether it is heard.
struct Tracker {
    silence: Duration,
    elected: Option<Term>,
    is_cut_off: bool,
}

impl Tracker {
    fn new(silence: Duration) -> Self {
        Self { silence, elected: None, is_cut_off: false }
    }

    fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    fn observe(&mut self, seen: &Observation) -> Leadership {
        let began = Term { term: seen.term, target: seen.last, since: seen.at, silent_since: None };
        let known = self.elected.filter(|known| known.term == seen.term).unwrap_or(began);
        self.elected = seen.elected.then_some(known);
        let Some(term) = &mut self.elected else {
            self.is_cut_off = false;
            return Leadership { term: seen.term, leads: false };
        };
        let silent_for = seen.answered.unwrap_or_else(|| seen.at - term.since);
        term.silent_since = (silent_for >= self.silence).then(|| term.silent_since.unwrap_or(seen.at));
        let grace = self.silence / GRACE_DIVISOR;
        self.is_cut_off = term.silent_since.is_some_and(|since| seen.at - since >= grace);
        Leadership { term: seen.term, leads: seen.applied >= term.target && !self.is_cut_off }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(1);

    #[test]
    fn a_new_leader_leads_once_it_has_applied_what_it_found() {
        let mut tracker = Tracker::new(SILENCE);
        let at = Instant::now();
        let mut see = |term, elected, last, applied| {
            let answered = Some(Duration::ZERO);
            tracker
                .observe(&Observation { at, term, elected, last: Some(last), applied: Some(applied), answered })
                .leads
        };
        assert!(!see(1, false, 7, 5));
        assert!(!see(2, true, 8, 5));
        assert!(!see(2, true, 9, 7));
        assert!(see(2, true, 9, 8));
        assert!(see(2, true, 20, 8));
        assert!(!see(3, true, 21, 8));
        assert!(!see(3, false, 21, 21));
    }

    #[test]
    fn a_leader_that_nobody_answers_does_not_lead_until_somebody_does() {
        let mut tracker = Tracker::new(SILENCE);
        let start = Instant::now();
        let mut see = |ms, answered: Option<u64>| {
            let seen = Observation {
                at: start + Duration::from_millis(ms),
                term: 2,
                elected: true,
                last: Some(1),
                applied: Some(1),
                answered: answered.map(Duration::from_millis),
            };
            let leads = tracker.observe(&seen).leads;
            assert_ne!(leads, tracker.is_cut_off());
            leads
        };
        assert!(see(0, None));
        assert!(see(900, None), "it was elected by a majority");
        assert!(see(1000, None), "it has time to ask again");
        assert!(!see(1250, None));
        assert!(see(1300, Some(20)));
        assert!(see(9000, Some(7700)), "it was asleep itself");
        assert!(see(9100, Some(80)));
        assert!(see(11_000, Some(1000)));
        assert!(!see(11_300, Some(1300)));
    }
}
