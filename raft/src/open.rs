//! From settings to a running replica.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::data_dir::{DataDir, random_id};
use crate::errors::OpenError;
use crate::flusher::Flusher;
use crate::keys::Keys;
use crate::latency::Latency;
use crate::log::{LogBackend, LogStore};
use crate::network::Alone;
use crate::seal::Keyring;
use crate::settings::Settings;
use crate::sled_log::SledLog;
use crate::snapshot::SnapshotDir;
use crate::state_machine::StateMachine;
use crate::store_impl::Inner;
use crate::types::{Raft, Replica, ReplicaId};
use crate::{RaftStore, leadership, proposer};

/// How long a group of one may take from opening to leading.
const READY_WAIT: Duration = Duration::from_secs(30);

/// What was read from the data directory, before anything runs.
struct Disk {
    dir: DataDir,
    id: ReplicaId,
    keys: Keys,
    log: LogStore,
    machine: StateMachine,
    feed: Arc<store::Feed>,
    fsync: Latency,
    pristine: bool,
}

impl RaftStore {
    /// Opens the replica in `settings.data_dir`. A new directory starts a group of one. It returns
    /// when the replica serves: for a group of one, when it leads and has applied its whole log.
    ///
    /// # Errors
    /// Each says what the operator can do.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        let config = Arc::new(settings.openraft()?);
        let (data_dir, key_file) = (settings.data_dir.clone(), settings.key_file.clone());
        let disk = tokio::task::spawn_blocking(move || read_disk(&data_dir, key_file.as_deref()))
            .await
            .map_err(|e| OpenError::Start(e.to_string()))??;
        let start = |error: &dyn std::fmt::Display| OpenError::Start(error.to_string());
        let raft = Raft::new(disk.id, config, Alone, disk.log, disk.machine).await.map_err(|e| start(&e))?;
        if disk.pristine {
            raft.initialize(BTreeMap::from([(disk.id, Replica::default())])).await.map_err(|e| start(&e))?;
        }
        let leadership = leadership::start(&raft);
        let commit = Latency::new("raft_commit_seconds");
        let queue = proposer::start(raft.clone(), settings.commit_timeout, commit.clone());
        let store = Self::new(Inner {
            raft,
            feed: disk.feed,
            keys: disk.keys,
            queue,
            leadership,
            commit,
            fsync: disk.fsync,
            timeout: settings.commit_timeout,
            dir: disk.dir,
        });
        store.ready_alone().await?;
        Ok(store)
    }

    /// Waits until the only voter of a group leads.
    async fn ready_alone(&self) -> Result<(), OpenError> {
        let status = self.status();
        let is_only_voter = status.members.iter().filter(|m| m.voter).all(|m| m.id == status.id);
        if !is_only_voter {
            return Ok(());
        }
        let mut leadership: watch::Receiver<_> = store::Store::leadership(self);
        let led = tokio::time::timeout(READY_WAIT, leadership.wait_for(|now| now.leads)).await;
        match led {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(OpenError::Start(self.fault())),
            Err(_) => Err(OpenError::Start(format!("not leading after {} s", READY_WAIT.as_secs()))),
        }
    }
}

fn read_disk(path: &Path, key_file: Option<&Path>) -> Result<Disk, OpenError> {
    let mut dir = DataDir::open(path)?;
    let key_path = key_file.map_or_else(|| dir.keys(), Path::to_owned);
    let keys = read_keys(&dir, &key_path)?;
    let id = match dir.id() {
        Some(id) => id,
        None => {
            let id = random_id();
            dir.initialise(id)?;
            id
        }
    };
    let failed = |file: &Path| {
        let file = file.to_owned();
        move |error| OpenError::of(path, &file, error)
    };
    let fsync = Latency::new("raft_fsync_seconds");
    let log_dir = dir.log();
    let backend: Arc<dyn LogBackend> = Arc::new(SledLog::open(&log_dir).map_err(failed(&log_dir))?);
    let flusher = Flusher::start(Arc::clone(&backend), fsync.clone()).map_err(failed(&log_dir))?;
    let log = LogStore::open(backend, flusher).map_err(failed(&log_dir))?;
    let snapshot_dir = dir.snapshots();
    let snapshots = SnapshotDir::open(snapshot_dir.clone()).map_err(failed(&snapshot_dir))?;
    let (machine, feed) = StateMachine::open(snapshots, keys.clone()).map_err(failed(&snapshot_dir))?;
    if log.purged().map_err(failed(&log_dir))? > machine.applied() {
        let detail = "the snapshot that the log continues is missing".to_owned();
        return Err(OpenError::Corrupted { path: path.to_owned(), detail });
    }
    let pristine = log.is_pristine().map_err(failed(&log_dir))?;
    Ok(Disk { dir, id, keys, log, machine, feed, fsync, pristine })
}

/// The keys: those of the file, or new ones for a new directory. Never new ones for an old
/// directory: its secrets could not be opened any more.
fn read_keys(dir: &DataDir, path: &Path) -> Result<Keys, OpenError> {
    let failed = |error| OpenError::of(dir.path(), path, error);
    if let Some(keys) = Keys::load(path).map_err(failed)? {
        return Ok(keys);
    }
    if dir.id().is_some() {
        return Err(OpenError::KeyLost {
            path: dir.path().to_owned(),
            detail: format!("there is no file {}", path.display()),
        });
    }
    Keys::create(path, Keyring::generate()).map_err(failed)
}
