//! The store of resources: one door in ([`Store::commit`]), one feed out ([`Store::watch`]).
//!
//! [`State`] is the whole store at one revision, in persistent maps: cloning it is cheap, readers
//! never block the writer. [`State::apply`] is the only function that changes it, and it is
//! deterministic; backends differ in how they order transactions and keep them, not in what a
//! transaction means. The memory backend is [`MemoryStore`]; the replicated one is the crate `raft`.

mod feed;
mod memory;
mod query;
mod state;
mod txn;

use async_trait::async_trait;

pub use feed::{ChangeBatch, Event, Feed, KindFilter, Watch};
pub use memory::MemoryStore;
pub use model::Change;
pub use query::{Page, Query};
pub use state::{Revision, Snapshot, State};
pub use txn::{Guard, GuardFailure, Op, Put, StatusChange, Txn};

/// A committed transaction.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its revision; also the version of every resource that it wrote.
    pub revision: Revision,
    /// Its changes, deletions by cascade included; none on a replica that passed it on to the leader and
    /// does not have it yet, or has it from a snapshot.
    pub batch: std::sync::Arc<ChangeBatch>,
}

/// Why a transaction was not, or perhaps not, committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A guard failed; nothing was written. Read again before you retry.
    #[error(transparent)]
    Guard(#[from] GuardFailure),
    /// Nobody leads the group; nothing was written, it is safe to retry.
    #[error("no leader after {waited_ms} ms")]
    NoLeader {
        /// How long the proposer waited for one.
        waited_ms: u64,
    },
    /// The leader was lost after it took the transaction: read before you retry.
    #[error("outcome of the commit is unknown")]
    Unknown,
    /// The store has stopped, or its disk failed; nothing more will be written by this process.
    #[error("store is stopped: {0}")]
    Stopped(String),
    /// The transaction cannot be stored (too large); nothing was written.
    #[error("transaction refused: {0}")]
    Refused(String),
}

/// Who does the duties that need one doer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// Raft's term; a duty that was started in an earlier one must not write.
    pub term: u64,
    /// Whether this process leads in that term.
    pub leads: bool,
}

/// Why a consistent read failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// No quorum confirmed the leader in time.
    #[error("no leader after {waited_ms} ms")]
    NoLeader {
        /// How long the read waited.
        waited_ms: u64,
    },
    /// The store has stopped.
    #[error("store is stopped: {0}")]
    Stopped(String),
}

/// A store of resources. Every backend passes the suite of the crate `store-conformance`.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The newest state that this process has applied. Never blocks.
    fn snapshot(&self) -> Snapshot;

    /// A state that holds every write acknowledged anywhere before the call.
    async fn consistent(&self) -> Result<Snapshot, ReadError>;

    /// Applies all of a transaction or none of it. It returns when the transaction is durable on a
    /// majority and applied here: a [`Store::snapshot`] taken afterwards shows it.
    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError>;

    /// The changes after revision `from`, gapless and in order. The first event is a snapshot when
    /// `from` is `None` or so far back that the changes are gone; so is a later one when the reader
    /// fell too far behind.
    fn watch(&self, from: Option<Revision>, filter: KindFilter) -> Watch;

    /// Who leads; changes wake the receiver.
    fn leadership(&self) -> tokio::sync::watch::Receiver<Leadership>;
}
