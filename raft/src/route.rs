//! The way of a write, or of a consistent read, to whoever leads.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{CheckIsLeaderError, RaftError};
use store::{ChangeBatch, CommitError, Committed, Event, KindFilter, ReadError, Revision, Snapshot, Store, Txn};
use tokio::time::{Instant, timeout_at};

use crate::RaftStore;
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
        let mut contact = self.inner().contact.clone();
        let known = *contact.borrow_and_update();
        let patience = (known.since + self.inner().leader_wait).max(Instant::now() + WAIT_MIN);
        let mut metrics = self.raft().metrics();
        let found = async {
            tokio::select! {
                _ = contact.wait_for(|now| now.leader.is_some()) => {}
                _ = metrics.wait_for(|now| now.running_state.is_err()) => {}
            }
        };
        timeout_at(deadline.min(patience), found).await.is_ok()
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
            Some(Ok(Reply::Committed(revision))) => Some(self.applied(Revision(revision)).await),
            Some(Ok(Reply::NotLeader(_)) | Err(CallError::NotSent(_) | CallError::Older(_))) => None,
            Some(Ok(other)) => Some(Err(other.commit_error())),
            Some(Err(CallError::Lost(error))) => {
                tracing::warn!(%error, "leader was lost after it was sent a transaction");
                Some(Err(CommitError::Unknown))
            }
            None => Some(Err(CommitError::Unknown)),
        }
    }

    /// Waits until this replica has applied a revision, and finds its changes.
    async fn applied(&self, revision: Revision) -> Result<Committed, CommitError> {
        let deadline = Instant::now() + self.inner().leader_wait;
        let mut watch = self.inner().feed.watch(Some(Revision(revision.0 - 1)), KindFilter::All);
        loop {
            match timeout_at(deadline, watch.next()).await {
                Ok(Some(Event::Batch(batch))) if batch.revision == revision => {
                    return Ok(Committed { revision, batch });
                }
                // It came with a snapshot, which does not tell what changed.
                Ok(Some(Event::Snapshot(state))) if state.revision() >= revision => {
                    let batch = ChangeBatch { revision, at: model::Timestamp::now(), changes: Vec::new() };
                    return Ok(Committed { revision, batch: Arc::new(batch) });
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Err(CommitError::Unknown),
            }
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

/// What comes of `work`, unless something else happens before.
async fn unless<T>(work: impl Future<Output = T>, other: impl Future<Output = ()>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = other => None,
    }
}
