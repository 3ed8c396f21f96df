//! The data directory of a replica.
//!
//! ```text
//! lock            held by the process that uses the directory
//! replica         identity of the replica; the mark of an initialised directory
//! cluster.keys    sealing keys, unless the operator keeps them elsewhere
//! log/            log and hard state
//! snapshots/      the newest snapshot
//! ```

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::errors::OpenError;
use crate::log::invalid;
use crate::snapshot::sync_dir;
use crate::types::ReplicaId;

/// Replica ids stay below 2^53, so that every JSON reader can hold them.
const ID_BITS: u32 = 48;

/// How long an open waits for a predecessor that is just stopping.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// What the file `replica` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    id: ReplicaId,
}

/// An opened, locked data directory.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Released when the directory is dropped or the process dies.
    _lock: File,
    id: Option<ReplicaId>,
}

impl DataDir {
    /// Opens or creates the directory and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let fail = |file: &Path| {
            let file = file.to_owned();
            move |error| OpenError::of(path, &file, error)
        };
        std::fs::create_dir_all(path).map_err(fail(path))?;
        let lock_path = path.join("lock");
        let lock =
            File::options().write(true).create(true).truncate(false).open(&lock_path).map_err(fail(&lock_path))?;
        lock_file(&lock, path, &lock_path)?;
        let identity = path.join("replica");
        let id = match std::fs::read(&identity) {
            Ok(bytes) => {
                let read: Identity = codec::decode(&bytes).map_err(|e| fail(&identity)(invalid(e)))?;
                Some(read.id)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(fail(&identity)(error)),
        };
        let dir = Self { path: path.to_owned(), _lock: lock, id };
        if dir.id.is_none() && (dir.log().join("db").exists() || has_snapshot(&dir.snapshots())) {
            return Err(OpenError::Corrupted {
                path: path.to_owned(),
                detail: "it holds data, but the file `replica` is missing".to_owned(),
            });
        }
        Ok(dir)
    }

    /// The id of the replica that lives here; `None` when the directory is new.
    pub(crate) fn id(&self) -> Option<ReplicaId> {
        self.id
    }

    /// Gives the directory its identity for ever.
    pub(crate) fn initialise(&mut self, id: ReplicaId) -> Result<(), OpenError> {
        let path = self.path.join("replica");
        self.write_identity(&path, id).map_err(|e| OpenError::of(&self.path, &path, e))?;
        self.id = Some(id);
        Ok(())
    }

    fn write_identity(&self, path: &Path, id: ReplicaId) -> io::Result<()> {
        let temporary = self.path.join("replica.tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(&codec::encode(&Identity { id }).map_err(invalid)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        sync_dir(&self.path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Directory of the log.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Directory of the snapshots.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.path.join("snapshots")
    }

    /// The default place of the sealing keys.
    pub(crate) fn keys(&self) -> PathBuf {
        self.path.join("cluster.keys")
    }
}

/// A new replica id.
pub(crate) fn random_id() -> ReplicaId {
    (rand::random::<u64>() >> (u64::BITS - ID_BITS)).max(1)
}

fn has_snapshot(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

fn lock_file(lock: &File, path: &Path, lock_path: &Path) -> Result<(), OpenError> {
    let start = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_WAIT => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(OpenError::of(path, lock_path, error)),
        }
    }
}
