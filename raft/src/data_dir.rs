//! The data directory of a replica.
//!
//! ```text
//! lock            held by the process that uses the directory
//! replica         identity of the replica; the mark of an initialised directory
//! cluster.keys    sealing keys, unless the operator keeps them elsewhere
//! cluster.pki     certificate authority and join secret, when there is a replica listener
//! removed         the replicas that were taken out of the group, one id a line
//! expelled        there when this replica is one of them
//! log/            log and hard state
//! snapshots/      the newest snapshot
//! ```

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::errors::OpenError;
use crate::keys::write_private;
use crate::log::invalid;
use crate::types::ReplicaId;

/// Replica ids stay below 2^53, so that every JSON reader can hold them.
const ID_BITS: u32 = 48;

/// How long an open waits for a predecessor that is just stopping.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// What the file `replica` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    id: ReplicaId,
    /// Whether it joined a group, and so must never found one.
    joined: bool,
    /// Whether it is in its group: a founder at once, one that joined when it has caught up.
    admitted: bool,
}

/// An opened, locked data directory.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Released when the directory is dropped or the process dies.
    _lock: File,
    identity: Option<Identity>,
    /// Whether the replica was admitted since the directory was opened.
    admitted_now: AtomicBool,
}

impl DataDir {
    /// Opens or creates the directory and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let fail = |file: &Path| {
            let file = file.to_owned();
            move |error| OpenError::of(path, &file, error)
        };
        // Keys and secrets live here: nobody else may look.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail(path))?;
        let lock_path = path.join("lock");
        let lock =
            File::options().write(true).create(true).truncate(false).open(&lock_path).map_err(fail(&lock_path))?;
        lock_file(&lock, path, &lock_path)?;
        let identity = path.join("replica");
        let known = match std::fs::read(&identity) {
            Ok(bytes) => Some(codec::decode::<Identity>(&bytes).map_err(|e| fail(&identity)(invalid(e)))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(fail(&identity)(error)),
        };
        let dir = Self { path: path.to_owned(), _lock: lock, identity: known, admitted_now: AtomicBool::new(false) };
        if dir.identity.is_none() && (dir.log().join("db").exists() || has_snapshot(&dir.snapshots())) {
            return Err(OpenError::Corrupted {
                path: path.to_owned(),
                detail: "it holds data, but the file `replica` is missing".to_owned(),
            });
        }
        Ok(dir)
    }

    /// The id of the replica that lives here; `None` when the directory is new.
    pub(crate) fn id(&self) -> Option<ReplicaId> {
        self.identity.as_ref().map(|identity| identity.id)
    }

    /// Whether the replica that lives here joined a group that others founded.
    pub(crate) fn joined(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.joined)
    }

    /// Whether that replica is in its group.
    pub(crate) fn admitted(&self) -> bool {
        self.admitted_now.load(Ordering::Relaxed) || self.identity.as_ref().is_some_and(|identity| identity.admitted)
    }

    /// Gives the directory its identity for ever.
    pub(crate) fn initialise(&mut self, id: ReplicaId, joined: bool) -> Result<(), OpenError> {
        let identity = Identity { id, joined, admitted: !joined };
        self.save(&identity)?;
        self.identity = Some(identity);
        Ok(())
    }

    /// Remembers that the replica is in its group.
    pub(crate) fn admit(&self) -> Result<(), OpenError> {
        let Some(known) = &self.identity else { return Ok(()) };
        self.save(&Identity { admitted: true, ..known.clone() })?;
        self.admitted_now.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn save(&self, identity: &Identity) -> Result<(), OpenError> {
        let path = self.path.join("replica");
        let written = codec::encode(identity).map_err(invalid).and_then(|bytes| write_private(&path, &bytes));
        written.map_err(|e| OpenError::of(&self.path, &path, e))
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

    /// The cluster's certificate authority and join secret.
    pub(crate) fn pki(&self) -> PathBuf {
        self.path.join("cluster.pki")
    }

    /// The list of the replicas that were removed.
    pub(crate) fn removed(&self) -> PathBuf {
        self.path.join("removed")
    }

    /// Whether this replica was removed from its group.
    pub(crate) fn expelled(&self) -> bool {
        self.mark().exists()
    }

    /// Remembers whether this replica was removed from its group.
    pub(crate) fn set_expelled(&self, expelled: bool) -> io::Result<()> {
        match expelled {
            true => write_private(&self.mark(), b""),
            false if self.expelled() => std::fs::remove_file(self.mark()),
            false => Ok(()),
        }
    }

    fn mark(&self) -> PathBuf {
        self.path.join("expelled")
    }

    /// Where the operator finds the join token.
    pub(crate) fn join_token(&self) -> PathBuf {
        self.path.join("join-token")
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
