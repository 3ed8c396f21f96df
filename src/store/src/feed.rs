//! The feed of changes, and its readers.

use std::sync::Arc;

use model::{Change, Kind, Timestamp};
use tokio::sync::watch;

use crate::state::{Revision, Snapshot, State};

/// What one committed transaction changed: each resource once, ordered by key.
#[derive(Debug, PartialEq, Eq)]
pub struct ChangeBatch {
    /// The revision of the transaction.
    pub revision: Revision,
    /// When it was proposed.
    pub at: Timestamp,
    /// The changed resources.
    pub changes: Vec<Change>,
}

/// What a reader of the feed receives.
#[derive(Clone, Debug)]
pub enum Event {
    /// Everything, at the snapshot's revision: forget what you knew.
    Snapshot(Snapshot),
    /// The next transaction that the filter lets through. Revisions in between did not concern it.
    Batch(Arc<ChangeBatch>),
}

/// Which kinds a reader wants to hear of; batches without any of them are not delivered.
/// Delivered batches are whole: a reader skips what is not its own.
#[derive(Clone, Debug, Default)]
pub enum KindFilter {
    /// All kinds.
    #[default]
    All,
    /// These kinds.
    Only(Vec<Kind>),
}

impl KindFilter {
    fn admits(&self, batch: &ChangeBatch) -> bool {
        match self {
            Self::All => true,
            Self::Only(kinds) => batch.changes.iter().any(|c| kinds.contains(&c.key.kind)),
        }
    }
}

/// The writing end of the feed: a backend publishes each new state here.
#[derive(Debug)]
pub struct Feed {
    sender: watch::Sender<Snapshot>,
}

impl Feed {
    /// A feed that starts at `state`.
    pub fn new(state: State) -> Self {
        Self { sender: watch::Sender::new(Arc::new(state)) }
    }

    /// The newest published state.
    pub fn snapshot(&self) -> Snapshot {
        Arc::clone(&self.sender.borrow())
    }

    /// Publishes the next state; readers wake.
    pub fn publish(&self, state: State) {
        self.sender.send_replace(Arc::new(state));
    }

    /// A reader that starts after `from`, or with a snapshot.
    pub fn watch(&self, from: Option<Revision>, filter: KindFilter) -> Watch {
        let mut receiver = self.sender.subscribe();
        receiver.mark_changed();
        Watch { receiver, cursor: from, filter, pending: Vec::new() }
    }
}

/// The reading end of the feed. It keeps no queue: it reads the newest state's own history, so a
/// slow reader costs nothing, and one that is too far behind gets a snapshot.
#[derive(Debug)]
pub struct Watch {
    receiver: watch::Receiver<Snapshot>,
    cursor: Option<Revision>,
    filter: KindFilter,
    /// Batches that were fetched and not yet delivered, newest first.
    pending: Vec<Arc<ChangeBatch>>,
}

impl Watch {
    /// The next event; `None` when the store has stopped. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(batch) = self.pending.pop() {
                return Some(Event::Batch(batch));
            }
            self.receiver.changed().await.ok()?;
            let snapshot = Arc::clone(&self.receiver.borrow_and_update());
            let newest = snapshot.revision();
            let from = self.cursor.replace(newest);
            let Some(missed) = from.and_then(|from| self.missed(&snapshot, from)) else {
                return Some(Event::Snapshot(snapshot));
            };
            self.pending = missed;
        }
    }

    /// The batches after `from` that concern this reader, newest first.
    fn missed(&self, snapshot: &State, from: Revision) -> Option<Vec<Arc<ChangeBatch>>> {
        let mut batches: Vec<_> = snapshot.since(from)?.filter(|b| self.filter.admits(b)).cloned().collect();
        batches.reverse();
        Some(batches)
    }

    /// The feed as a stream.
    pub fn into_stream(self) -> impl futures::Stream<Item = Event> + Send {
        futures::stream::unfold(self, |mut watch| async move {
            let event = watch.next().await?;
            Some((event, watch))
        })
    }
}
