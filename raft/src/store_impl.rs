//! [`RaftStore`]: the store that a group of replicas keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use openraft::error::{CheckIsLeaderError, RaftError};
use store::{
    ChangeBatch, CommitError, Committed, Event, Feed, KindFilter, Leadership, ReadError, Revision, Snapshot, Store,
    Txn, Watch,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::data_dir::DataDir;
use crate::keys::Keys;
use crate::latency::Latency;
use crate::peers::{CallError, Peers};
use crate::pki::Pki;
use crate::proposer::{Proposal, Refusal, TXN_BYTES_MAX};
use crate::record;
use crate::removed::Removed;
use crate::rpc::{Reply, Request};
use crate::seal::Keyring;
use crate::status::{self, Status};
use crate::types::{Outcome, Raft, ReplicaId};
use crate::vitals::Heard;

/// Pause before a write or read is tried again after the leader could not be reached.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// A replicated [`Store`]. Clones share one replica.
#[derive(Clone, Debug)]
pub struct RaftStore {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) id: ReplicaId,
    pub(crate) address: String,
    pub(crate) raft: Raft,
    pub(crate) feed: Arc<Feed>,
    pub(crate) keys: Keys,
    pub(crate) pki: Option<Pki>,
    pub(crate) peers: Option<Peers>,
    pub(crate) queue: mpsc::Sender<Proposal>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) commit: Latency,
    pub(crate) fsync: Latency,
    pub(crate) timeout: Duration,
    pub(crate) removed: Removed,
    pub(crate) heard: Heard,
    pub(crate) reads_format: u8,
    /// Why this replica must not go on, once there is a reason that openraft does not know.
    pub(crate) expelled: watch::Sender<Option<String>>,
    /// Held while this replica changes the group: openraft makes one change at a time.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// How often in a row this replica stood for election in vain, on order.
    pub(crate) stood: AtomicU32,
    /// Tells the listener and the duties to end.
    pub(crate) stop: watch::Sender<bool>,
    /// Held for its lock.
    pub(crate) dir: DataDir,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftStore").field("id", &self.id).field("dir", &self.dir.path()).finish_non_exhaustive()
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

    /// The token with which another replica joins this group; `None` without a replica listener.
    /// It is a secret: whoever has it can become a replica and read everything.
    pub fn join_token(&self) -> Option<String> {
        self.inner.pki.as_ref().map(Pki::token)
    }

    /// Where the other replicas reach this one; empty without a replica listener.
    pub fn address(&self) -> &str {
        &self.inner.address
    }

    /// Stops the replica: nothing is written any more. The data directory is free once every clone
    /// of the store is dropped.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::error!(%error, "replica did not stop in order");
        }
    }

    /// Resolves when the replica has stopped by itself, with the reason: its disk failed, or an
    /// entry could not be applied. The process should exit, so that its supervisor restarts it.
    pub async fn failed(&self) -> String {
        let mut metrics = self.inner.raft.metrics();
        let mut expelled = self.inner.expelled.subscribe();
        tokio::select! {
            stopped = metrics.wait_for(|metrics| metrics.running_state.is_err()) => {
                if stopped.is_ok() { self.fault() } else { "replica is gone".to_owned() }
            }
            why = expelled.wait_for(Option::is_some) => why.ok().and_then(|why| why.clone()).unwrap_or_default(),
        }
    }

    pub(crate) fn fault(&self) -> String {
        match &self.inner.raft.metrics().borrow().running_state {
            Ok(()) => "replica is stopping".to_owned(),
            Err(fatal) => fatal.to_string(),
        }
    }

    pub(crate) fn id(&self) -> ReplicaId {
        self.inner.id
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    pub(crate) fn dir(&self) -> &DataDir {
        &self.inner.dir
    }

    pub(crate) fn keys(&self) -> Arc<Keyring> {
        self.inner.keys.current()
    }

    pub(crate) fn replace_keys(&self, ring: Keyring) -> std::io::Result<()> {
        self.inner.keys.replace(ring)
    }

    pub(crate) fn pki(&self) -> Option<&Pki> {
        self.inner.pki.as_ref()
    }

    pub(crate) fn removed(&self) -> &Removed {
        &self.inner.removed
    }

    pub(crate) fn heard(&self) -> &Heard {
        &self.inner.heard
    }

    /// Turns true when another replica says that this one was removed; `None` without any.
    pub(crate) fn told_removed(&self) -> Option<watch::Receiver<bool>> {
        self.inner.peers.as_ref().map(Peers::removed)
    }

    pub(crate) fn set_expelled(&self, why: String) {
        self.inner.expelled.send_replace(Some(why));
    }

    /// The newest format of records that this replica reads.
    pub(crate) fn reads_format(&self) -> u8 {
        self.inner.reads_format
    }

    /// Logs who asked for a write, where it was ordered.
    pub(crate) fn tell_author(&self, author: Option<&str>, revision: Revision) {
        if let Some(author) = author {
            tracing::info!(author, %revision, "committed");
        }
    }

    pub(crate) fn changing(&self) -> &tokio::sync::Mutex<()> {
        &self.inner.changing
    }

    pub(crate) fn stood(&self) -> &AtomicU32 {
        &self.inner.stood
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.inner.timeout
    }

    /// All replicas with their addresses, learners included.
    pub(crate) fn members(&self) -> BTreeMap<ReplicaId, String> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.nodes().map(|(id, replica)| (*id, replica.address.clone())).collect()
    }

    pub(crate) fn voters(&self) -> BTreeSet<ReplicaId> {
        self.inner.raft.metrics().borrow().membership_config.voter_ids().collect()
    }

    /// Who leads, as far as this replica knows, and where it is reached.
    pub(crate) fn leader(&self) -> Option<(ReplicaId, String)> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow();
        let leader = metrics.current_leader?;
        let replica = metrics.membership_config.membership().get_node(&leader)?;
        Some((leader, replica.address.clone()))
    }

    /// Asks another replica.
    pub(crate) async fn call(&self, address: &str, request: &Request, timeout: Duration) -> Result<Reply, CallError> {
        self.peers()?.call(None, address, request, timeout).await
    }

    /// Asks another replica, and nobody else who may have its address now.
    pub(crate) async fn call_replica(
        &self,
        id: ReplicaId,
        address: &str,
        request: &Request,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        self.peers()?.call(Some(id), address, request, timeout).await
    }

    fn peers(&self) -> Result<&Peers, CallError> {
        let none = || CallError::NotSent("this replica has no replica listener".to_owned());
        self.inner.peers.as_ref().ok_or_else(none)
    }

    /// Runs a duty until the replica stops.
    pub(crate) fn spawn(&self, mut stopped: watch::Receiver<bool>, duty: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(async move {
            tokio::select! {
                () = duty => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        });
    }

    /// Queues a transaction for this replica's proposer.
    pub(crate) async fn propose(&self, bytes: bytes::Bytes, typed: Option<Arc<Txn>>) -> Result<Outcome, Refusal> {
        let (reply, outcome) = oneshot::channel();
        let stopped = || Refusal::Stopped(self.fault());
        self.inner.queue.send(Proposal { bytes, typed, reply }).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }

    /// Waits until somebody leads; `false` when nobody does before `deadline`.
    pub(crate) async fn leader_known(&self, deadline: Instant) -> bool {
        let mut metrics = self.inner.raft.metrics();
        let known = metrics.wait_for(|m| m.current_leader.is_some() || m.running_state.is_err());
        tokio::time::timeout_at(deadline.into(), known).await.is_ok()
    }

    /// Has another replica, which leads, commit a transaction. `None`: it was surely not committed.
    async fn forward(&self, address: &str, bytes: &[u8], deadline: Instant) -> Option<Result<Committed, CommitError>> {
        let request = Request::Commit(bytes.to_vec().into());
        let left = deadline.saturating_duration_since(Instant::now());
        match self.call(address, &request, left).await {
            Ok(Reply::Committed(revision)) => Some(self.applied(Revision(revision), deadline).await),
            Ok(Reply::NotLeader(_)) | Err(CallError::NotSent(_) | CallError::Older(_)) => None,
            Ok(other) => Some(Err(other.commit_error())),
            Err(CallError::Lost(error)) => {
                tracing::warn!(%error, "leader was lost after it was sent a transaction");
                Some(Err(CommitError::Unknown))
            }
        }
    }

    /// Waits until this replica has applied a revision, and finds its changes.
    async fn applied(&self, revision: Revision, deadline: Instant) -> Result<Committed, CommitError> {
        let mut watch = self.inner.feed.watch(Some(Revision(revision.0 - 1)), KindFilter::All);
        loop {
            match tokio::time::timeout_at(deadline.into(), watch.next()).await {
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

    /// What must be applied here before a read that starts now; `None`: ask again.
    async fn read_index(&self, deadline: Instant) -> Result<Option<u64>, ReadError> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.leader() {
            Some((id, _)) if id == self.id() => match self.inner.raft.get_read_log_id().await {
                Ok((read, _)) => Ok(Some(read.map_or(0, |id| id.index))),
                Err(RaftError::Fatal(fatal)) => Err(ReadError::Stopped(fatal.to_string())),
                Err(RaftError::APIError(
                    CheckIsLeaderError::ForwardToLeader(_) | CheckIsLeaderError::QuorumNotEnough(_),
                )) => Ok(None),
            },
            Some((_, address)) => match self.call(&address, &Request::ReadIndex, left).await {
                Ok(Reply::ReadIndex(index)) => Ok(Some(index.unwrap_or(0))),
                Ok(_) | Err(_) => Ok(None),
            },
            None => Ok(None),
        }
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
        while Instant::now() < deadline && self.leader_known(deadline).await {
            let confirmed = tokio::time::timeout_at(deadline.into(), self.read_index(deadline)).await;
            match confirmed {
                Ok(Ok(Some(index))) => {
                    let mut metrics = self.inner.raft.metrics();
                    let applied = metrics
                        .wait_for(|m| m.last_applied.map_or(0, |id| id.index) >= index || m.running_state.is_err());
                    if tokio::time::timeout_at(deadline.into(), applied).await.is_ok() {
                        return Ok(self.snapshot());
                    }
                }
                Ok(Ok(None)) => tokio::time::sleep(RETRY_PAUSE).await,
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        Err(ReadError::NoLeader { waited_ms: millis(start.elapsed()) })
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        let start = Instant::now();
        let deadline = start + self.inner.timeout;
        let bytes: bytes::Bytes = record::encode_txn(&txn, &self.inner.keys.current(), self.group_format())
            .map_err(|e| CommitError::Refused(e.to_string()))?
            .into();
        if bytes.len() > TXN_BYTES_MAX {
            let size = bytes.len();
            return Err(CommitError::Refused(format!("{size} bytes are more than {TXN_BYTES_MAX}")));
        }
        let txn = Arc::new(txn);
        while Instant::now() < deadline && self.leader_known(deadline).await {
            match self.leader() {
                Some((id, address)) if id != self.id() => {
                    if let Some(result) = self.forward(&address, &bytes, deadline).await {
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
                    Err(refusal) => return Err(refusal.commit_error(start.elapsed())),
                },
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Err(CommitError::NoLeader { waited_ms: millis(start.elapsed()) })
    }

    fn watch(&self, from: Option<Revision>, filter: KindFilter) -> Watch {
        self.inner.feed.watch(from, filter)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }
}
