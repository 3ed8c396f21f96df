//! The way of a write, or of a consistent read, to whoever leads.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{CheckIsLeaderError, RaftError};
use store::{ChangeBatch, CommitError, Committed, Event, Feed, KindFilter, ReadError, Revision, Snapshot, Store, Txn};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::RaftStore;
use crate::leadership::Contact;
use crate::peers::CallError;
use crate::proposer::{Refusal, TXN_BYTES_MAX};
use crate::record;
use crate::rpc::{Reply, Request};
use crate::types::ReplicaId;

/// Pause before a write or read is tried again after the leader could not be reached.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// How long a write waits for a leader however long there was none before: who tries again at once must
/// not spin.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// How long a leader that gave up may still take to answer for what it was sent.
const LAST_ANSWER_WAIT: Duration = Duration::from_millis(500);

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One write or read that looks for the leader.
#[derive(Clone, Copy)]
struct Search {
    start: Instant,
    /// It must be sent to a leader until then.
    reached: Instant,
    /// It must be answered until then.
    answered: Instant,
}

impl RaftStore {
    fn search(&self) -> Search {
        let start = Instant::now();
        let (reached, answered) = (start + self.inner().leader_wait, start + self.inner().timeout);
        Search { start, reached, answered }
    }

    /// Who leads, as far as this replica knows, and where it is reached.
    pub(crate) fn leader(&self) -> Option<(ReplicaId, String)> {
        let leader = self.inner().contact.borrow().leader?;
        let metrics = self.raft().metrics();
        let metrics = metrics.borrow();
        let replica = metrics.membership_config.membership().get_node(&leader)?;
        Some((leader, replica.address.clone()))
    }

    /// Waits until somebody leads, or this replica stops; `false` when nobody does before `deadline`, or
    /// has for as long as anybody would wait.
    pub(crate) async fn leader_known(&self, deadline: Instant) -> bool {
        let mut metrics = self.raft().metrics();
        let stops = async { drop(metrics.wait_for(|now| now.running_state.is_err()).await) };
        let mut contact = self.inner().contact.clone();
        someone_leads(&mut contact, stops, self.inner().leader_wait, deadline).await
    }

    /// Resolves when somebody else leads, or nobody.
    async fn lost(&self, leader: ReplicaId) {
        let mut contact = self.inner().contact.clone();
        drop(contact.wait_for(|now| now.leader != Some(leader)).await);
    }

    /// Commits a transaction here or at whoever leads.
    pub(crate) async fn write(&self, txn: Txn) -> Result<Committed, CommitError> {
        let search = self.search();
        let bytes: bytes::Bytes = record::encode_txn(&txn, &self.keys(), self.group_format())
            .map_err(|e| CommitError::Refused(e.to_string()))?
            .into();
        if bytes.len() > TXN_BYTES_MAX {
            let size = bytes.len();
            return Err(CommitError::Refused(format!("{size} bytes are more than {TXN_BYTES_MAX}")));
        }
        let txn = Arc::new(txn);
        while Instant::now() < search.reached && self.leader_known(search.reached).await {
            match self.leader() {
                Some((id, address)) if id != self.id() => {
                    if let Some(result) = self.forward(id, &address, &bytes, search.answered).await {
                        return result;
                    }
                }
                _ => match self.propose(bytes.clone(), Some(Arc::clone(&txn))).await {
                    Ok(outcome) => {
                        let batch = outcome?;
                        self.tell_author(txn.author.as_deref(), batch.revision);
                        return Ok(Committed { revision: batch.revision, batch });
                    }
                    Err(Refusal::NotLeader(_)) => {}
                    Err(refusal) => return Err(refusal.commit_error(search.start.elapsed())),
                },
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Err(CommitError::NoLeader { waited_ms: millis(search.start.elapsed()) })
    }

    /// Has another replica, which leads, commit a transaction. `None`: it was surely not committed.
    async fn forward(
        &self,
        leader: ReplicaId,
        address: &str,
        bytes: &[u8],
        deadline: Instant,
    ) -> Option<Result<Committed, CommitError>> {
        let request = Request::Commit(bytes.to_vec().into());
        let left = deadline.saturating_duration_since(Instant::now());
        let given_up = async {
            self.lost(leader).await;
            tokio::time::sleep(LAST_ANSWER_WAIT).await;
        };
        match unless(self.call(address, &request, left), given_up).await {
            Some(Ok(Reply::Committed(revision))) => {
                Some(Ok(seen(&self.inner().feed, Revision(revision), self.inner().leader_wait).await))
            }
            Some(Ok(Reply::NotLeader(_)) | Err(CallError::NotSent(_) | CallError::Older(_))) => None,
            Some(Ok(other)) => Some(Err(other.commit_error())),
            Some(Err(CallError::Lost(error))) => {
                tracing::warn!(%error, "leader was lost after it was sent a transaction");
                Some(Err(CommitError::Unknown))
            }
            None => Some(Err(CommitError::Unknown)),
        }
    }

    /// A state that holds every write acknowledged anywhere before.
    pub(crate) async fn read(&self) -> Result<Snapshot, ReadError> {
        let search = self.search();
        while Instant::now() < search.reached && self.leader_known(search.reached).await {
            match timeout_at(search.reached, self.read_index(search.reached)).await {
                Ok(Ok(Some(index))) => {
                    let mut metrics = self.raft().metrics();
                    let applied = metrics
                        .wait_for(|m| m.last_applied.map_or(0, |id| id.index) >= index || m.running_state.is_err());
                    let stopped = match timeout_at(search.answered, applied).await {
                        Ok(Ok(now)) => now.running_state.is_err(),
                        Ok(Err(_)) => true,
                        Err(_) => break,
                    };
                    return if stopped { Err(ReadError::Stopped(self.fault())) } else { Ok(self.snapshot()) };
                }
                Ok(Ok(None)) => tokio::time::sleep(RETRY_PAUSE).await,
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        Err(ReadError::NoLeader { waited_ms: millis(search.start.elapsed()) })
    }

    /// What must be applied here before a read that starts now; `None`: ask again.
    async fn read_index(&self, deadline: Instant) -> Result<Option<u64>, ReadError> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.leader() {
            Some((id, _)) if id == self.id() => match self.raft().get_read_log_id().await {
                Ok((read, _)) => Ok(Some(read.map_or(0, |id| id.index))),
                Err(RaftError::Fatal(fatal)) => Err(ReadError::Stopped(fatal.to_string())),
                Err(RaftError::APIError(
                    CheckIsLeaderError::ForwardToLeader(_) | CheckIsLeaderError::QuorumNotEnough(_),
                )) => Ok(None),
            },
            Some((id, address)) => match unless(self.call(&address, &Request::ReadIndex, left), self.lost(id)).await {
                Some(Ok(Reply::ReadIndex(index))) => Ok(Some(index.unwrap_or(0))),
                Some(_) | None => Ok(None),
            },
            None => Ok(None),
        }
    }
}

/// Waits until somebody leads or `stops` is over; `false` when that is not before `deadline`, or when
/// nobody has led for `patience`. Who asks when that is over already waits a moment only.
async fn someone_leads(
    contact: &mut watch::Receiver<Contact>,
    stops: impl Future<Output = ()>,
    patience: Duration,
    deadline: Instant,
) -> bool {
    let end = (contact.borrow_and_update().since + patience).max(Instant::now() + WAIT_MIN);
    let found = async {
        tokio::select! {
            _ = contact.wait_for(|now| now.leader.is_some()) => {}
            () = stops => {}
        }
    };
    timeout_at(deadline.min(end), found).await.is_ok()
}

/// A committed transaction, once this replica has it: who wrote it then reads it here. A replica that
/// does not have it within `patience`, or got it with a snapshot, cannot tell what changed; it is
/// committed all the same.
async fn seen(feed: &Feed, revision: Revision, patience: Duration) -> Committed {
    let mut watch = feed.watch(Some(Revision(revision.0 - 1)), KindFilter::All);
    let arrives = async {
        loop {
            match watch.next().await {
                Some(Event::Batch(batch)) if batch.revision == revision => return Some(batch),
                Some(Event::Snapshot(state)) if state.revision() >= revision => return None,
                Some(_) => {}
                None => return None,
            }
        }
    };
    let batch = tokio::time::timeout(patience, arrives).await.unwrap_or_else(|_| {
        tracing::warn!(%revision, "a write is committed that this replica does not have yet");
        None
    });
    let unseen = || Arc::new(ChangeBatch { revision, at: model::Timestamp::now(), changes: Vec::new() });
    Committed { revision, batch: batch.unwrap_or_else(unseen) }
}

/// What comes of `work`, unless something else happens before.
async fn unless<T>(work: impl Future<Output = T>, other: impl Future<Output = ()>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = other => None,
    }
}

#[cfg(test)]
mod tests {
    use model::{Key, Labels, Spec, Timestamp, registry};
    use store::State;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    /// What comes of waiting for a leader when there has been none for `alone`, and one comes after
    /// `comes`; and how long that takes in virtual time.
    async fn waited(alone: Duration, comes: Option<Duration>, deadline: Duration) -> (bool, Duration) {
        let (sender, mut contact) = watch::channel(Contact::none());
        tokio::time::advance(alone).await;
        let start = Instant::now();
        let elected = async {
            match comes {
                Some(comes) => tokio::time::sleep(comes).await,
                None => std::future::pending().await,
            }
            sender.send_modify(|known| known.leader = Some(1));
            std::future::pending::<()>().await;
        };
        let stops = std::future::pending();
        tokio::select! {
            found = someone_leads(&mut contact, stops, PATIENCE, start + deadline) => (found, start.elapsed()),
            () = elected => unreachable!("it waits for ever"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_had_no_leader_for_long_does_not_wait_again() {
        let (none, second, long) = (Duration::ZERO, Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(waited(none, None, long).await, (false, PATIENCE));
        assert_eq!(waited(second, None, long).await, (false, PATIENCE - second), "it has waited before");
        assert_eq!(waited(PATIENCE, None, long).await, (false, WAIT_MIN));
        assert_eq!(waited(long, None, long).await, (false, WAIT_MIN));
        // What is found in time is found.
        assert_eq!(waited(none, Some(second), long).await, (true, second));
        assert_eq!(waited(long, Some(WAIT_MIN / 2), long).await, (true, WAIT_MIN / 2));
        assert_eq!(waited(long, Some(second), long).await, (false, WAIT_MIN));
        assert_eq!(waited(none, None, second).await, (false, second), "nobody waits beyond his own limit");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_leader_is_woken_when_the_replica_stops() {
        let (_sender, mut contact) = watch::channel(Contact::none());
        let start = Instant::now();
        assert!(someone_leads(&mut contact, async {}, PATIENCE, start + PATIENCE).await);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    fn written(state: &mut State, name: &str) -> Revision {
        let spec = Spec::of(serde_json::json!({ "config": name })).unwrap();
        let txn = Txn::new().put(Key::global(registry::CONFIG, name), Labels::new(), spec);
        state.apply(&txn, Timestamp::UNIX_EPOCH, 1).unwrap().revision
    }

    #[tokio::test(start_paused = true)]
    async fn a_committed_write_is_told_when_it_is_here_and_all_the_same_when_it_is_not() {
        let mut state = State::new();
        let first = written(&mut state, "a");
        let feed = Feed::new(state.clone());
        let here = seen(&feed, first, PATIENCE).await;
        assert_eq!((here.revision, here.batch.changes.len()), (first, 1));
        let start = Instant::now();
        let second = written(&mut state, "b");
        let arrives = async {
            tokio::time::sleep(PATIENCE / 2).await;
            feed.publish(state.clone());
        };
        let (later, ()) = tokio::join!(seen(&feed, second, PATIENCE), arrives);
        assert_eq!((later.revision, later.batch.changes.len(), start.elapsed()), (second, 1, PATIENCE / 2));
        let third = written(&mut state, "c");
        let never = seen(&feed, third, PATIENCE).await;
        assert_eq!((never.revision, never.batch.changes.len()), (third, 0));
        assert!(feed.snapshot().revision() < third);
    }
}
