//! Stores in temporary directories.

use std::path::Path;

use raft::{RaftStore, Settings};
use tempfile::TempDir;

/// Opens the replica in `dir`.
pub(crate) async fn open_in(dir: &Path) -> RaftStore {
    RaftStore::open(Settings::new(dir)).await.expect("the directory is usable")
}

/// An empty group of one.
pub(crate) async fn open() -> (RaftStore, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    (open_in(dir.path()).await, dir)
}
