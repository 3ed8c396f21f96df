//! Applies committed entries to the state and publishes it.
//!
//! No I/O and no waiting here while entries are applied: openraft runs this in one task, and all
//! writers wait for it. Snapshots are built from a clone of the state, which shares everything.

use std::io;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};

use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, ErrorSubject, ErrorVerb, OptionalSend, RaftSnapshotBuilder, RaftTypeConfig, Snapshot};
use store::{Feed, State};

use crate::beside;
use crate::codec::{self, CodecError};
use crate::covered::{Covered, Covering};
use crate::keys::Keys;
use crate::log::{invalid, storage_error};
use crate::removed::Removed;
use crate::snapshot::{self, Contents, SnapshotDir, SnapshotFile};
use crate::types::{Command, Entry, LogId, Membership, Outcome, Response, SnapshotMeta, StorageError, TypeConfig};

type Current = Arc<Mutex<Option<(SnapshotMeta, SnapshotFile)>>>;

/// The replicated state machine: [`State`], at a position of the log.
#[derive(Debug)]
pub(crate) struct StateMachine {
    state: State,
    applied: Option<LogId>,
    membership: Membership,
    feed: Arc<Feed>,
    keys: Keys,
    snapshots: SnapshotDir,
    current: Current,
    covering: Arc<Covering>,
    removed: Removed,
    reads: u8,
}

impl StateMachine {
    /// The state machine at its newest snapshot, and the feed that it publishes to.
    ///
    /// # Errors
    /// The disk's, or the fault of the snapshot as [`io::ErrorKind::InvalidData`].
    pub(crate) fn open(snapshots: SnapshotDir, keys: Keys) -> io::Result<(Self, Arc<Feed>)> {
        let (state, meta, current) = match snapshots.newest()? {
            None => (State::new(), SnapshotMeta::default(), None),
            Some(file) => {
                // Nothing is served yet, so all processors are free for it.
                let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
                let Contents { meta, state } = snapshot::read_on(&file, &keys.current(), threads)?;
                (state, meta.clone(), Some((meta, file)))
            }
        };
        let feed = Arc::new(Feed::new(state.clone()));
        let machine = Self {
            state,
            applied: meta.last_log_id,
            membership: meta.last_membership,
            feed: Arc::clone(&feed),
            keys,
            snapshots,
            covering: Arc::new(Covering::upto(meta.last_log_id)),
            current: Arc::new(Mutex::new(current)),
            removed: Removed::default(),
            reads: codec::FORMAT,
        };
        Ok((machine, feed))
    }

    /// The same, for a replica that takes formats up to `reads`.
    pub(crate) fn reading(self, reads: u8) -> Self {
        Self { reads, ..self }
    }

    /// Who left the group, as this machine applies it.
    pub(crate) fn removed(&self) -> Removed {
        self.removed.clone()
    }

    /// How far its newest snapshot goes.
    pub(crate) fn covered(&self) -> Covered {
        self.covering.covered()
    }

    /// The last entry in the state.
    pub(crate) fn applied(&self) -> Option<LogId> {
        self.applied
    }

    fn commit(&mut self, command: &Command, term: u64) -> Result<Vec<Outcome>, CodecError> {
        let command = command.decode(&self.keys.current(), self.reads)?;
        Ok(command.txns.iter().map(|txn| self.state.apply(txn, command.at, term)).collect())
    }
}

fn snapshot_error(verb: ErrorVerb, error: &io::Error) -> StorageError {
    storage_error(verb, ErrorSubject::Snapshot(None), error)
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Response>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let before = self.state.revision();
        let mut responses = Vec::new();
        for entry in entries {
            let outcomes = match &entry.payload {
                EntryPayload::Blank => Vec::new(),
                EntryPayload::Normal(command) => {
                    self.commit(command, entry.log_id.leader_id.term).map_err(|error| {
                        tracing::error!(%error, index = entry.log_id.index, "entry cannot be applied, replica stops");
                        storage_error(ErrorVerb::Read, ErrorSubject::Apply(entry.log_id), &invalid(error))
                    })?
                }
                EntryPayload::Membership(members) => {
                    let members = Membership::new(Some(entry.log_id), members.clone());
                    self.removed.changed(&self.membership, &members);
                    self.membership = members;
                    Vec::new()
                }
            };
            self.applied = Some(entry.log_id);
            responses.push(Response { outcomes });
        }
        if self.state.revision() != before {
            self.feed.publish(self.state.clone());
        }
        Ok(responses)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let last = self.applied.map_or((0, 0), |id| (id.leader_id.term, id.leader_id.node_id));
        let index = self.applied.map_or(0, |id| id.index);
        SnapshotBuilder {
            meta: SnapshotMeta {
                last_log_id: self.applied,
                last_membership: self.membership.clone(),
                snapshot_id: format!("{}-{}-{index}", last.0, last.1),
            },
            state: self.state.clone(),
            keys: self.keys.clone(),
            snapshots: self.snapshots.clone(),
            current: Arc::clone(&self.current),
            covering: Arc::clone(&self.covering),
        }
    }

    async fn begin_receiving_snapshot(
        &mut self,
    ) -> Result<Box<<TypeConfig as RaftTypeConfig>::SnapshotData>, StorageError> {
        self.snapshots.receive().map(Box::new).map_err(|e| snapshot_error(ErrorVerb::Write, &e))
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, received: Box<SnapshotFile>) -> Result<(), StorageError> {
        let (keys, snapshots, wanted) = (self.keys.current(), self.snapshots.clone(), meta.clone());
        let installed = beside::done(move || {
            let contents = snapshot::read(&received, &keys)?;
            if contents.meta.last_log_id != wanted.last_log_id {
                return Err(invalid(CodecError::Corrupted("snapshot is not the announced one".to_owned())));
            }
            let file = snapshots.keep(*received, &contents.meta)?;
            Ok((contents, file))
        });
        let (contents, file) = installed.await.map_err(|error| {
            self.covering.fail();
            snapshot_error(ErrorVerb::Write, &error)
        })?;
        self.covering.advance(contents.meta.last_log_id);
        self.applied = contents.meta.last_log_id;
        self.removed.changed(&self.membership, &contents.meta.last_membership);
        self.membership = contents.meta.last_membership.clone();
        self.state = contents.state;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((contents.meta, file));
        self.feed.publish(self.state.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(current.map(|(meta, file)| Snapshot { meta, snapshot: Box::new(file) }))
    }
}

/// Writes the snapshot of one moment.
#[derive(Debug)]
pub(crate) struct SnapshotBuilder {
    meta: SnapshotMeta,
    state: State,
    keys: Keys,
    snapshots: SnapshotDir,
    current: Current,
    covering: Arc<Covering>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let (meta, state, keys) = (self.meta.clone(), self.state.clone(), self.keys.current());
        let snapshots = self.snapshots.clone();
        let file = beside::done(move || snapshots.write(&meta, &state, &keys))
            .await
            .map_err(|e| snapshot_error(ErrorVerb::Write, &e))?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // One that another replica sent meanwhile may go further.
        if current.as_ref().is_none_or(|(meta, _)| meta.last_log_id <= self.meta.last_log_id) {
            *current = Some((self.meta.clone(), file.clone()));
        }
        drop(current);
        self.covering.advance(self.meta.last_log_id);
        Ok(Snapshot { meta: self.meta.clone(), snapshot: Box::new(file) })
    }
}
