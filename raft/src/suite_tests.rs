//! openraft's own suite for storages, on this crate's.

use std::sync::Arc;

use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::flusher::Flusher;
use crate::keys::Keys;
use crate::latency::Latency;
use crate::log::{LogBackend, LogStore};
use crate::seal::Keyring;
use crate::sled_log::SledLog;
use crate::snapshot::SnapshotDir;
use crate::state_machine::StateMachine;
use crate::types::{StorageError, TypeConfig};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let backend: Arc<dyn LogBackend> = Arc::new(SledLog::open(&dir.path().join("log")).unwrap());
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
