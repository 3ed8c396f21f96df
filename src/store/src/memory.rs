//! A store that lives and dies with its process.

use std::sync::Mutex;

use async_trait::async_trait;
use model::Timestamp;
use tokio::sync::watch;

use crate::feed::{Feed, KindFilter, Watch};
use crate::state::{Revision, Snapshot, State};
use crate::txn::Txn;
use crate::{CommitError, Committed, Leadership, ReadError, Store};

/// The term of a store that has no elections.
const TERM: u64 = 1;

/// A [`Store`] in memory: always its own leader, never durable.
#[derive(Debug)]
pub struct MemoryStore {
    feed: Feed,
    /// Serialises writers; holds nothing, because the feed has the state.
    writer: Mutex<()>,
    leadership: watch::Sender<Leadership>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_state(State::new())
    }

    /// A store that starts with `state`.
    pub fn with_state(state: State) -> Self {
        Self {
            feed: Feed::new(state),
            writer: Mutex::new(()),
            leadership: watch::Sender::new(Leadership { term: TERM, leads: true }),
        }
    }

    /// Commits a transaction stamped `at`.
    ///
    /// # Errors
    /// The first guard that does not hold.
    pub fn commit_at(&self, txn: &Txn, at: Timestamp) -> Result<Committed, CommitError> {
        let _writer = self.writer.lock().map_err(|_| CommitError::Stopped("a writer panicked".to_owned()))?;
        let mut state = (*self.feed.snapshot()).clone();
        let batch = state.apply(txn, at, TERM)?;
        self.feed.publish(state);
        Ok(Committed { revision: batch.revision, batch })
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn snapshot(&self) -> Snapshot {
        self.feed.snapshot()
    }

    async fn consistent(&self) -> Result<Snapshot, ReadError> {
        Ok(self.feed.snapshot())
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        self.commit_at(&txn, Timestamp::now())
    }

    fn watch(&self, from: Option<Revision>, filter: KindFilter) -> Watch {
        self.feed.watch(from, filter)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }
}
