//! Entries on their way to one follower, sent while the leader's own disk still syncs them.
//!
//! openraft sends entries only when the leader has synced them, so a write would wait for two disks in
//! turn. Here the log announces entries as it takes them, and what the follower is known to be ready
//! for is sent at once; when openraft asks for the same, it gets the answer to that. An entry still
//! counts for the leader once its own disk has it, and for a follower once that one says so.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::error::{NetworkError, RPCError, RaftError, Unreachable};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::types::{Entry, LogId, Replica, ReplicaId, TypeConfig, Vote};

/// What a follower answered, or why it did not.
pub(crate) type Answer = Result<AppendEntriesResponse<ReplicaId>, RPCError<ReplicaId, Replica, RaftError<ReplicaId>>>;

/// A way to one follower.
pub(crate) trait Wire: Clone + Send + Sync + 'static {
    /// Sends entries, and waits for the answer.
    fn append(&self, rpc: AppendEntriesRequest<TypeConfig>) -> impl Future<Output = Answer> + Send + 'static;
}

/// Vote, entry before the first, last entry.
type Span = (Vote, Option<LogId>, Option<LogId>);

fn span(rpc: &AppendEntriesRequest<TypeConfig>) -> Span {
    (rpc.vote, rpc.prev_log_id, rpc.entries.last().map(|entry| entry.log_id))
}

#[derive(Debug)]
struct InFlight {
    span: Span,
    answer: JoinHandle<Answer>,
}

type Sender = Arc<dyn Fn(AppendEntriesRequest<TypeConfig>) -> JoinHandle<Answer> + Send + Sync>;

/// A follower that has everything up to an entry, and waits for the next.
struct Ready {
    vote: Vote,
    last: LogId,
    send: Sender,
    /// What was sent to it before openraft asked.
    early: Option<InFlight>,
}

#[derive(Default)]
struct Followers {
    ready: BTreeMap<ReplicaId, Ready>,
    committed: Option<LogId>,
    /// How seldom anything is sent, when it is held back.
    held: Option<Duration>,
}

/// Why nothing is sent.
#[derive(Debug, thiserror::Error)]
#[error("no majority answers this leader, others may elect another")]
struct CutOff;

/// Whether a leader with this vote made these entries.
fn proposed_under(vote: &Vote, first: &Entry, last: &Entry) -> bool {
    let leader = (vote.leader_id.term, vote.leader_id.node_id);
    let made = |entry: &Entry| (entry.log_id.leader_id.term, entry.log_id.leader_id.node_id) == leader;
    vote.committed && made(first) && made(last)
}

/// Between the log of a replica and its ways to the others. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Announcer {
    followers: Arc<Mutex<Followers>>,
}

impl std::fmt::Debug for Announcer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcer").finish_non_exhaustive()
    }
}

impl Announcer {
    fn lock(&self) -> MutexGuard<'_, Followers> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group has agreed to everything up to this entry.
    pub(crate) fn committed(&self, last: Option<LogId>) {
        self.lock().committed = last;
    }

    /// Holds back what a leader has to say that nobody answers, but for one message in a while: who
    /// only hears it would never elect another.
    pub(crate) fn hold(&self, pause: Option<Duration>) {
        self.lock().held = pause;
    }

    /// This replica adds entries to its log. Those that it proposed as a leader go to the followers
    /// that wait for them.
    pub(crate) fn appended(&self, entries: &[Entry]) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        let mut followers = self.lock();
        if followers.held.is_some() {
            return;
        }
        let committed = followers.committed;
        for ready in followers.ready.values_mut() {
            let is_next = first.log_id.index == ready.last.index + 1;
            if ready.early.is_some() || !is_next || !proposed_under(&ready.vote, first, last) {
                continue;
            }
            let rpc = AppendEntriesRequest {
                vote: ready.vote,
                prev_log_id: Some(ready.last),
                entries: entries.to_vec(),
                leader_commit: committed,
            };
            ready.early = Some(InFlight { span: span(&rpc), answer: (ready.send)(rpc) });
        }
    }

    /// What was sent early, when it is what openraft asks for. A heartbeat leaves it for later.
    fn take(&self, target: ReplicaId, asked: &Span) -> Option<InFlight> {
        asked.2?;
        self.lock().ready.get_mut(&target)?.early.take().filter(|early| early.span == *asked)
    }

    fn forget(&self, target: ReplicaId) {
        self.lock().ready.remove(&target);
    }
}

/// openraft's stream of entries to one follower.
pub(crate) struct Appends<W: Wire> {
    wire: W,
    target: ReplicaId,
    announcer: Announcer,
    /// openraft gives up waiting after one heartbeat interval and sends the same again; it then gets
    /// the answer to the first sending.
    in_flight: Option<InFlight>,
    is_ready: bool,
    /// When something was sent last.
    sent: Option<Instant>,
}

impl<W: Wire> Appends<W> {
    pub(crate) fn new(wire: W, target: ReplicaId, announcer: Announcer) -> Self {
        Self { wire, target, announcer, in_flight: None, is_ready: false, sent: None }
    }

    /// Sends entries, unless they are on their way; `None` when the answer takes longer than `patience`.
    pub(crate) async fn send(&mut self, rpc: AppendEntriesRequest<TypeConfig>, patience: Duration) -> Option<Answer> {
        let held = self.announcer.lock().held;
        if held.is_some_and(|pause| self.sent.is_some_and(|sent| sent.elapsed() < pause)) {
            return Some(Err(Unreachable::new(&CutOff).into()));
        }
        self.sent = Some(Instant::now());
        let asked = span(&rpc);
        let known = self.in_flight.take().filter(|known| known.span == asked);
        let known = known.or_else(|| self.announcer.take(self.target, &asked));
        let in_flight = known.unwrap_or_else(|| InFlight { span: asked, answer: spawn(&self.wire, rpc) });
        // Kept here, so that it outlives this future when openraft drops it.
        let in_flight = self.in_flight.insert(in_flight);
        let answer = tokio::time::timeout(patience, &mut in_flight.answer).await.ok()?;
        self.in_flight = None;
        let answer = match answer {
            Ok(answer) => answer,
            Err(gone) => Err(NetworkError::new(&gone).into()),
        };
        match (&answer, asked) {
            (Ok(AppendEntriesResponse::Success), (vote, _, Some(last))) => self.ready(vote, last),
            (Ok(AppendEntriesResponse::Success), _) => {}
            _ => self.not_ready(),
        }
        Some(answer)
    }

    fn ready(&mut self, vote: Vote, last: LogId) {
        self.is_ready = true;
        let mut followers = self.announcer.lock();
        match followers.ready.get_mut(&self.target) {
            Some(known) if known.vote == vote => known.last = last,
            _ => {
                let wire = self.wire.clone();
                let send: Sender = Arc::new(move |rpc| spawn(&wire, rpc));
                followers.ready.insert(self.target, Ready { vote, last, send, early: None });
            }
        }
    }

    fn not_ready(&mut self) {
        if std::mem::take(&mut self.is_ready) {
            self.announcer.forget(self.target);
        }
    }
}

impl<W: Wire> Drop for Appends<W> {
    fn drop(&mut self) {
        self.not_ready();
    }
}

fn spawn<W: Wire>(wire: &W, rpc: AppendEntriesRequest<TypeConfig>) -> JoinHandle<Answer> {
    tokio::spawn(wire.append(rpc))
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    use super::*;
    use crate::record::{LogIdRecord, VoteRecord};
    use crate::types::{log_id, vote};

    const PATIENCE: Duration = Duration::from_secs(60);
    const TARGET: ReplicaId = 2;

    /// Agrees to everything, and tells what came.
    #[derive(Clone)]
    struct Agreeing(UnboundedSender<Span>);

    impl Wire for Agreeing {
        fn append(&self, rpc: AppendEntriesRequest<TypeConfig>) -> impl Future<Output = Answer> + Send + 'static {
            self.0.send(span(&rpc)).unwrap();
            std::future::ready(Ok(AppendEntriesResponse::Success))
        }
    }

    fn leader(term: u64) -> Vote {
        vote(VoteRecord { term, replica: 1, committed: true })
    }

    fn at(term: u64, index: u64) -> LogId {
        log_id(LogIdRecord { term, replica: 1, index })
    }

    fn blank(term: u64, index: u64) -> Entry {
        Entry { log_id: at(term, index), payload: EntryPayload::Blank }
    }

    fn rpc(term: u64, previous: u64, entries: Vec<Entry>) -> AppendEntriesRequest<TypeConfig> {
        let prev_log_id = Some(at(term, previous));
        AppendEntriesRequest { vote: leader(term), prev_log_id, entries, leader_commit: None }
    }

    /// A follower that has entry 1 of term 3.
    async fn ready() -> (Announcer, Appends<Agreeing>, UnboundedReceiver<Span>) {
        let (told, mut came) = unbounded_channel();
        let announcer = Announcer::default();
        let mut appends = Appends::new(Agreeing(told), TARGET, announcer.clone());
        appends.send(rpc(3, 0, vec![blank(3, 1)]), PATIENCE).await.unwrap().unwrap();
        came.recv().await.unwrap();
        (announcer, appends, came)
    }

    #[tokio::test]
    async fn entries_go_out_as_they_are_appended_and_once() {
        let (announcer, mut appends, mut came) = ready().await;
        announcer.appended(&[blank(3, 2)]);
        // Nobody but the log has asked for it.
        assert_eq!(came.recv().await.unwrap(), (leader(3), Some(at(3, 1)), Some(at(3, 2))));
        // A heartbeat in between takes nothing away.
        appends.send(rpc(3, 1, Vec::new()), PATIENCE).await.unwrap().unwrap();
        assert_eq!(came.recv().await.unwrap().2, None);
        appends.send(rpc(3, 1, vec![blank(3, 2)]), PATIENCE).await.unwrap().unwrap();
        assert!(came.try_recv().is_err(), "it is not sent again");
        announcer.appended(&[blank(3, 3)]);
        assert_eq!(came.recv().await.unwrap().1, Some(at(3, 2)));
    }

    #[tokio::test]
    async fn what_a_follower_does_not_wait_for_is_not_sent() {
        let (announcer, appends, mut came) = ready().await;
        // Of another leader, which this replica now follows.
        announcer.appended(&[blank(4, 2)]);
        // Not the next one.
        announcer.appended(&[blank(3, 3)]);
        drop(appends);
        announcer.appended(&[blank(3, 2)]);
        assert!(came.recv().await.is_none(), "nothing went out, and nobody can send any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_nobody_answers_is_heard_seldom() {
        let (announcer, mut appends, mut came) = ready().await;
        let pause = Duration::from_secs(2);
        announcer.hold(Some(pause));
        announcer.appended(&[blank(3, 2)]);
        let refused = appends.send(rpc(3, 1, Vec::new()), PATIENCE).await.unwrap();
        assert!(matches!(refused, Err(RPCError::Unreachable(_))), "{refused:?}");
        assert!(came.try_recv().is_err());
        tokio::time::advance(pause).await;
        appends.send(rpc(3, 1, Vec::new()), PATIENCE).await.unwrap().unwrap();
        announcer.hold(None);
        appends.send(rpc(3, 1, Vec::new()), PATIENCE).await.unwrap().unwrap();
        let heartbeat = (leader(3), Some(at(3, 1)), None);
        assert_eq!([came.try_recv().unwrap(), came.try_recv().unwrap()], [heartbeat, heartbeat]);
    }

    #[tokio::test]
    async fn what_openraft_asks_for_differently_is_sent_as_it_asks() {
        let (announcer, mut appends, mut came) = ready().await;
        announcer.appended(&[blank(3, 2)]);
        came.recv().await.unwrap();
        appends.send(rpc(3, 1, vec![blank(3, 2), blank(3, 3)]), PATIENCE).await.unwrap().unwrap();
        assert_eq!(came.recv().await.unwrap().2, Some(at(3, 3)));
    }
}
