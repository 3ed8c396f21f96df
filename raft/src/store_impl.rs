//! [`RaftStore`]: the store that a group of replicas keeps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use openraft::error::{CheckIsLeaderError, RaftError};
use store::{CommitError, Committed, Feed, KindFilter, Leadership, ReadError, Revision, Snapshot, Store, Txn, Watch};
use tokio::sync::{mpsc, oneshot, watch};

use crate::data_dir::DataDir;
use crate::keys::Keys;
use crate::latency::Latency;
use crate::proposer::{Proposal, Refusal, TXN_BYTES_MAX};
use crate::status::{self, Status};
use crate::types::{Outcome, Raft, encode_txn};

/// A replicated [`Store`]. Clones share one replica.
#[derive(Clone, Debug)]
pub struct RaftStore {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) raft: Raft,
    pub(crate) feed: Arc<Feed>,
    pub(crate) keys: Keys,
    pub(crate) queue: mpsc::Sender<Proposal>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) commit: Latency,
    pub(crate) fsync: Latency,
    pub(crate) timeout: Duration,
    /// Held for its lock.
    pub(crate) dir: DataDir,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftStore").field("dir", &self.dir.path()).finish_non_exhaustive()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl RaftStore {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// What this replica tells of itself and its group.
    pub fn status(&self) -> Status {
        let inner = &*self.inner;
        let revision = inner.feed.snapshot().revision();
        status::of(&inner.raft, revision, inner.commit.percentiles(), inner.fsync.percentiles())
    }

    /// Stops the replica: nothing is written any more. The data directory is free once every clone
    /// of the store is dropped.
    pub async fn shutdown(&self) {
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::error!(%error, "replica did not stop in order");
        }
    }

    /// Resolves when the replica has stopped by itself, with the reason: its disk failed, or an
    /// entry could not be applied. The process should exit, so that its supervisor restarts it.
    pub async fn failed(&self) -> String {
        let mut metrics = self.inner.raft.metrics();
        let stopped = metrics.wait_for(|metrics| metrics.running_state.is_err()).await.is_ok();
        if stopped { self.fault() } else { "replica is gone".to_owned() }
    }

    pub(crate) fn fault(&self) -> String {
        match &self.inner.raft.metrics().borrow().running_state {
            Ok(()) => "replica is stopping".to_owned(),
            Err(fatal) => fatal.to_string(),
        }
    }

    /// Queues a transaction for this replica's proposer.
    async fn propose(&self, proposal: (bytes::Bytes, Option<Arc<Txn>>)) -> Result<Outcome, Refusal> {
        let (reply, outcome) = oneshot::channel();
        let proposal = Proposal { bytes: proposal.0, typed: proposal.1, reply };
        let stopped = || Refusal::Stopped(self.fault());
        self.inner.queue.send(proposal).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }

    /// Waits until somebody leads; `false` when nobody does before `deadline`.
    async fn leader_known(&self, deadline: Instant) -> bool {
        let mut metrics = self.inner.raft.metrics();
        let known = metrics.wait_for(|m| m.current_leader.is_some() || m.running_state.is_err());
        tokio::time::timeout_at(deadline.into(), known).await.is_ok()
    }
}

#[async_trait]
impl Store for RaftStore {
    fn snapshot(&self) -> Snapshot {
        self.inner.feed.snapshot()
    }

    async fn consistent(&self) -> Result<Snapshot, ReadError> {
        let start = Instant::now();
        let deadline = start + self.inner.timeout;
        loop {
            let confirmed = tokio::time::timeout_at(deadline.into(), self.inner.raft.ensure_linearizable()).await;
            match confirmed {
                Ok(Ok(_)) => return Ok(self.snapshot()),
                Ok(Err(RaftError::Fatal(fatal))) => return Err(ReadError::Stopped(fatal.to_string())),
                Ok(Err(RaftError::APIError(
                    CheckIsLeaderError::ForwardToLeader(_) | CheckIsLeaderError::QuorumNotEnough(_),
                ))) if self.leader_known(deadline).await && Instant::now() < deadline => {}
                Ok(Err(RaftError::APIError(_))) | Err(_) => {
                    return Err(ReadError::NoLeader { waited_ms: millis(start.elapsed()) });
                }
            }
        }
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        let start = Instant::now();
        let deadline = start + self.inner.timeout;
        let bytes = encode_txn(&txn, &self.inner.keys.current()).map_err(|e| CommitError::Refused(e.to_string()))?;
        if bytes.len() > TXN_BYTES_MAX {
            return Err(CommitError::Refused(format!(
                "{} bytes are more than the {TXN_BYTES_MAX} of one transaction",
                bytes.len()
            )));
        }
        let txn = Arc::new(txn);
        loop {
            match self.propose((bytes.clone(), Some(Arc::clone(&txn)))).await {
                Ok(outcome) => {
                    let batch = outcome?;
                    return Ok(Committed { revision: batch.revision, batch });
                }
                Err(Refusal::NotLeader(_)) if self.leader_known(deadline).await && Instant::now() < deadline => {}
                Err(refusal) => return Err(refusal.commit_error(start.elapsed())),
            }
        }
    }

    fn watch(&self, from: Option<Revision>, filter: KindFilter) -> Watch {
        self.inner.feed.watch(from, filter)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }
}
