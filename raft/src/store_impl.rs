//! [`RaftStore`]: the store that a group of replicas keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use async_trait::async_trait;
use store::{CommitError, Committed, Feed, KindFilter, Leadership, ReadError, Revision, Snapshot, Store, Txn, Watch};
use tokio::sync::{mpsc, oneshot, watch};

use crate::certificates::Certificates;
use crate::data_dir::DataDir;
use crate::keys::Keys;
use crate::latency::Latency;
use crate::leadership::Contact;
use crate::peers::{CallError, Peers};
use crate::pki::Pki;
use crate::proposer::{Proposal, Refusal};
use crate::removed::Removed;
use crate::rpc::{Reply, Request};
use crate::seal::Keyring;
use crate::standing_again::Granted;
use crate::status::{self, Status};
use crate::types::{Outcome, Raft, ReplicaId};
use crate::vitals::Heard;

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
    pub(crate) certificates: Option<Certificates>,
    pub(crate) queue: mpsc::Sender<Proposal>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) contact: watch::Receiver<Contact>,
    pub(crate) granted: Granted,
    pub(crate) commit: Latency,
    pub(crate) fsync: Latency,
    pub(crate) timeout: Duration,
    pub(crate) leader_wait: Duration,
    pub(crate) removed: Removed,
    pub(crate) heard: Heard,
    pub(crate) reads_format: u8,
    /// Why this replica must not go on, once there is a reason that openraft does not know.
    pub(crate) expelled: watch::Sender<Option<String>>,
    /// Held while this replica changes the group: openraft makes one change at a time.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Shared by every proposal on its way; held alone while this replica hands over: what is written
    /// meanwhile would be missing where it is needed to be elected.
    pub(crate) proposing: tokio::sync::RwLock<()>,
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

impl RaftStore {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// What this replica tells of itself and its group.
    pub fn status(&self) -> Status {
        let inner = &*self.inner;
        let revision = inner.feed.snapshot().revision();
        status::of(
            &inner.raft,
            &inner.contact.borrow(),
            revision,
            inner.commit.percentiles(),
            inner.fsync.percentiles(),
        )
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
        // It may hold this store.
        self.inner.heard.questions.set(None);
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

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
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

    pub(crate) fn certificates(&self) -> Option<&Certificates> {
        self.inner.certificates.as_ref()
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

    pub(crate) fn proposing(&self) -> &tokio::sync::RwLock<()> {
        &self.inner.proposing
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
        let _shared = self.inner.proposing.read().await;
        let (reply, outcome) = oneshot::channel();
        let stopped = || Refusal::Stopped(self.fault());
        self.inner.queue.send(Proposal { bytes, typed, reply }).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

#[async_trait]
impl Store for RaftStore {
    fn snapshot(&self) -> Snapshot {
        self.inner.feed.snapshot()
    }

    async fn consistent(&self) -> Result<Snapshot, ReadError> {
        self.read().await
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        self.write(txn).await
    }

    fn watch(&self, from: Option<Revision>, filter: KindFilter) -> Watch {
        self.inner.feed.watch(from, filter)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }
}
