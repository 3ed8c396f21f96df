//! openraft's own suite for storages, on this crate's.

use std::sync::Arc;

use openraft::EntryPayload;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::flusher::Flusher;
use crate::keys::Keys;
use crate::latency::Latency;
use crate::log::{LogBackend, LogStore};
use crate::record::LogIdRecord;
use crate::seal::Keyring;
use crate::snapshot::SnapshotDir;
use crate::state_machine::StateMachine;
use crate::types::{Entry, LogId, StorageError, TypeConfig, log_id};
use crate::wal::Wal;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let backend: Arc<dyn LogBackend> = Arc::new(Wal::open(&dir.path().join("log")).unwrap());
        let flusher = Flusher::start(Arc::clone(&backend), Latency::new("test")).unwrap();
        let log = LogStore::open(backend, flusher).unwrap();
        let keys = Keys::create(&dir.path().join("keys"), Keyring::generate()).unwrap();
        let snapshots = SnapshotDir::open(dir.path().join("snapshots")).unwrap();
        let (machine, _feed) = StateMachine::open(snapshots, keys).unwrap();
        Ok((dir, log, machine))
    }
}

#[test]
fn storage_passes_openrafts_suite() {
    Suite::test_all(Builder).unwrap();
}

/// One that led until now may still read, for a follower, what its successor makes it drop.
#[tokio::test]
async fn entries_that_were_dropped_are_not_there_which_is_no_fault() {
    let at = |index| -> LogId { log_id(LogIdRecord { term: 1, replica: 1, index }) };
    let (_dir, mut log, _) = Builder.build().await.unwrap();
    log.blocking_append((0..6).map(|index| Entry { log_id: at(index), payload: EntryPayload::Blank })).await.unwrap();
    log.truncate(at(4)).await.unwrap();
    assert_eq!(log.limited_get_log_entries(4, 6).await.unwrap().len(), 0);
    assert_eq!(log.limited_get_log_entries(2, 6).await.unwrap().len(), 2);
}
