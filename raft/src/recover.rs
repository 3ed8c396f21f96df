//! Backups, and the ways back from a disaster: a new group from a backup, and going on alone from
//! the last replica of a group.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use openraft::RaftLogReader;
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use store::{Revision, State, Store};

use crate::RaftStore;
use crate::data_dir::{DataDir, random_id};
use crate::errors::{BackupError, OpenError};
use crate::open::{Arrival, Disk, blocking, read_disk};
use crate::record::LogIdRecord;
use crate::settings::Settings;
use crate::snapshot::{self, SnapshotFile};
use crate::types::{LogId, Membership, Replica, ReplicaId, SnapshotMeta, Vote, log_id};

/// How far a restored group's revisions are ahead of the backup's. Writes that were made after the
/// backup are lost, and their revisions and versions, which clients may remember, must not come
/// again for other content.
const REVISIONS_SKIPPED: u64 = 1 << 24;

impl RaftStore {
    /// Writes everything to a file, from a state that holds every acknowledged write. Secrets are
    /// sealed in it: keep the key file, apart from it.
    ///
    /// # Errors
    /// When no leader confirms the state, or the file cannot be written.
    pub async fn backup(&self, path: impl Into<PathBuf>) -> Result<Revision, BackupError> {
        let state = self.consistent().await?;
        let (path, keys) = (path.into(), self.keys());
        let work = move || {
            let meta = SnapshotMeta { snapshot_id: "backup".to_owned(), ..SnapshotMeta::default() };
            snapshot::write_file(&path, &meta, &state, &keys)?;
            Ok(state.revision())
        };
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
    }

    /// The resources in a backup of this group, or of one with the same sealing keys.
    ///
    /// # Errors
    /// When it cannot be read; [`OpenError::KeyLost`] when this group cannot open its secrets.
    pub async fn read_backup(&self, path: impl Into<PathBuf>) -> Result<State, OpenError> {
        let (path, keys, dir) = (path.into(), self.keys(), self.dir().path().to_owned());
        blocking(move || {
            let failed = |error| OpenError::of(&dir, &path, error);
            let file = SnapshotFile::open(&path).map_err(failed)?;
            Ok(snapshot::read(&file, &keys).map_err(failed)?.state)
        })
        .await
    }
}

/// Makes a new data directory from a backup: a group of one, which others may join. The key file
/// must be in its place, `settings.key_file` or `cluster.keys` in the directory.
///
/// # Errors
/// When the directory is in use or not new, the key is missing, or the backup cannot be read.
pub async fn restore(settings: &Settings, backup: &Path) -> Result<Revision, OpenError> {
    let (data_dir, key_file, backup) = (settings.data_dir.clone(), settings.key_file.clone(), backup.to_owned());
    blocking(move || {
        let dir = DataDir::open(&data_dir)?;
        if dir.id().is_some() {
            return Err(OpenError::Settings(format!(
                "data directory {} is not empty: a backup is restored into a new one",
                data_dir.display()
            )));
        }
        let key_path = key_file.clone().unwrap_or_else(|| dir.keys());
        if !key_path.exists() {
            let detail = format!("there is no file {}, where that of the backup belongs", key_path.display());
            return Err(OpenError::KeyLost { path: data_dir, detail });
        }
        let failed = |error| OpenError::of(&data_dir, &backup, error);
        let file = SnapshotFile::open(&backup).map_err(failed)?;
        // Everything but the identity, which is written last.
        let (keys, id) = (crate::open::read_keys(&dir, &key_path, None)?, random_id());
        let contents = snapshot::read(&file, &keys.current()).map_err(failed)?;
        let revision = Revision(contents.state.revision().0 + REVISIONS_SKIPPED);
        let state = State::restore(revision, contents.state.iter().map(|resource| (**resource).clone()));
        let mut disk = read_disk(dir, key_file.as_deref(), &Arrival::default(), false, Some(id))?;
        let last = log_id(LogIdRecord { term: 1, replica: id, index: 1 });
        begin_alone(&mut disk, last, 1, &state)?;
        disk.dir.initialise(id, false)?;
        Ok(revision)
    })
    .await
}

/// Makes a replica whose group is lost a group of one, with everything that is in its log. For the
/// last survivor only: if a majority of the group still lives, both would go on apart.
///
/// # Errors
/// When the directory is in use or unusable.
pub async fn recover_alone(settings: &Settings) -> Result<Revision, OpenError> {
    let (data_dir, key_file) = (settings.data_dir.clone(), settings.key_file.clone());
    let mut disk = blocking(move || {
        let dir = DataDir::open(&data_dir)?;
        if dir.id().is_none() {
            let path = data_dir.display();
            return Err(OpenError::Settings(format!("data directory {path} holds no replica to recover")));
        }
        // The others may have removed it and be gone now.
        dir.set_expelled(false).map_err(|e| OpenError::of(&data_dir, &data_dir, e))?;
        read_disk(dir, key_file.as_deref(), &Arrival::default(), false, None)
    })
    .await?;
    let storage = |e: openraft::StorageError<ReplicaId>| OpenError::Start(e.to_string());
    let log = disk.log.get_log_state().await.map_err(storage)?;
    let next = disk.machine.applied().map_or(0, |id| id.index + 1);
    let entries = disk.log.try_get_log_entries(next..).await.map_err(storage)?;
    disk.machine.apply(entries).await.map_err(storage)?;
    let vote = disk.log.read_vote().await.map_err(storage)?.unwrap_or_default();
    let Some(last) = log.last_log_id.max(disk.machine.applied()) else {
        return Err(OpenError::Settings("this replica never got anything from its group".to_owned()));
    };
    let term = vote.leader_id.term.max(last.leader_id.term);
    let (_, members) = disk.machine.applied_state().await.map_err(storage)?;
    blocking(move || {
        // Should one of them come back, it is no replica of this group any more.
        disk.machine.removed().add(members.nodes().map(|(id, _)| *id).filter(|id| *id != disk.id));
        let file = disk.dir.removed();
        disk.machine.removed().save(&file).map_err(|e| OpenError::of(disk.dir.path(), &file, e))?;
        let state = disk.feed.snapshot();
        begin_alone(&mut disk, last, term, &state)?;
        disk.dir.admit()?;
        Ok(state.revision())
    })
    .await
}

/// The snapshot first: until the log is cut, the directory is as good as before.
fn begin_alone(disk: &mut Disk, last: LogId, term: u64, state: &State) -> Result<(), OpenError> {
    let path = disk.dir.path().to_owned();
    let id = disk.id;
    let replicas = BTreeMap::from([(id, Replica::default())]);
    let group = openraft::Membership::new(vec![BTreeSet::from([id])], replicas);
    let meta = SnapshotMeta {
        last_log_id: Some(last),
        last_membership: Membership::new(Some(last), group),
        snapshot_id: format!("{}-{id}-{}-alone", last.leader_id.term, last.index),
    };
    let snapshots = disk.dir.snapshots();
    let failed = |error| OpenError::of(&path, &snapshots, error);
    disk.snapshots.write(&meta, state, &disk.keys.current()).map_err(failed)?;
    disk.log.restart_after(last, &Vote::new(term, id)).map_err(failed)
}
