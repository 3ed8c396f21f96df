//! The log store above a backend.

use openraft::EntryPayload;
use openraft::storage::RaftLogStorageExt;
use tempfile::TempDir;

use super::*;
use crate::covered::Covering;
use crate::latency::Latency;
use crate::wal::Wal;
use crate::watermark::Reached;

/// A log that is killed before it is cut.
#[derive(Debug)]
struct Uncut(Wal);

impl LogBackend for Uncut {
    fn append(&self, entries: &[(u64, Vec<u8>)]) -> io::Result<()> {
        self.0.append(entries)
    }

    fn range(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        self.0.range(from, to, bytes_max)
    }

    fn last(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        self.0.last()
    }

    fn truncate(&self, from: u64) -> io::Result<()> {
        self.0.truncate(from)
    }

    fn purge(&self, _: u64) -> io::Result<()> {
        Err(io::Error::other("killed"))
    }

    fn put(&self, name: &str, value: &[u8]) -> io::Result<()> {
        self.0.put(name, value)
    }

    fn hint(&self, name: &str, value: &[u8]) -> io::Result<()> {
        self.0.hint(name, value)
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.0.get(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn reached(&self) -> Reached {
        self.0.reached()
    }
}

fn at(index: u64) -> LogId {
    log_id(LogIdRecord { term: 1, replica: 1, index })
}

fn open(backend: impl LogBackend) -> io::Result<LogStore> {
    let backend: Arc<dyn LogBackend> = Arc::new(backend);
    let flusher = Flusher::start(Arc::clone(&backend), Latency::new("test"))?;
    LogStore::open(backend, flusher)
}

/// A log with entries before `next`.
async fn filled(dir: &TempDir, next: u64, backend: impl LogBackend) -> LogStore {
    let mut log = open(backend).unwrap_or_else(|error| panic!("{}: {error}", dir.path().display()));
    log.blocking_append((0..next).map(|index| Entry { log_id: at(index), payload: EntryPayload::Blank }))
        .await
        .unwrap();
    log
}

#[tokio::test]
async fn what_a_snapshot_covers_is_gone_before_the_files_are_and_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(&dir, 10, Uncut(Wal::open(dir.path()).unwrap())).await;
    log.purge(at(5)).await.unwrap();
    let indexes = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.log_id.index).collect::<Vec<_>>();
    assert_eq!(indexes(log.try_get_log_entries(0..10).await.unwrap()), [6, 7, 8, 9]);
    assert_eq!(log.get_log_state().await.unwrap().last_purged_log_id, Some(at(5)));
    drop(log);
    // The cut that failed lets go of the file.
    tokio::task::yield_now().await;
    let mut log = open(Wal::open(dir.path()).unwrap()).unwrap();
    assert_eq!(indexes(log.try_get_log_entries(..).await.unwrap()), [6, 7, 8, 9]);
    assert_eq!(log.get_log_state().await.unwrap().last_purged_log_id, Some(at(5)));
}

/// openraft cuts the log of a follower before the snapshot that it was given is on its disk.
#[tokio::test]
async fn the_log_is_cut_when_the_snapshot_is_there_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Covering::upto(Some(at(3)));
    let log = filled(&dir, 10, Wal::open(dir.path()).unwrap()).await;
    let mut log = log.covered_by(snapshots.covered());
    log.purge(at(7)).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(log.purged().unwrap(), None, "a crash here leaves the log as it was");
    snapshots.advance(Some(at(7)));
    while log.purged().unwrap() != Some(at(7)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_cut_that_comes_late_does_not_take_the_mark_back() {
    let dir = tempfile::tempdir().unwrap();
    let log = filled(&dir, 10, Wal::open(dir.path()).unwrap()).await;
    for upto in [5, 3] {
        log.cut(at(upto)).unwrap();
        assert_eq!(log.purged().unwrap(), Some(at(5)));
    }
}

/// A hole between the log and what follows a snapshot would be taken for a loss.
#[tokio::test]
async fn entries_behind_a_snapshot_wait_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Covering::upto(None);
    let log = filled(&dir, 10, Wal::open(dir.path()).unwrap()).await;
    let mut log = log.covered_by(snapshots.covered());
    let append = |log: &LogStore, index| {
        let mut log = log.clone();
        async move { log.blocking_append([Entry { log_id: at(index), payload: EntryPayload::Blank }]).await }
    };
    log.purge(at(20)).await.unwrap();
    append(&log, 10).await.expect("what the log itself goes on with does not wait");
    let mut behind = Box::pin(append(&log, 21));
    assert!(futures::poll!(&mut behind).is_pending());
    snapshots.advance(Some(at(20)));
    behind.await.unwrap();
    assert_eq!(log.purged().unwrap(), Some(at(20)));
    log.purge(at(30)).await.unwrap();
    let mut behind = Box::pin(append(&log, 31));
    assert!(futures::poll!(&mut behind).is_pending());
    snapshots.fail();
    behind.await.unwrap_err();
}

#[tokio::test]
async fn the_mark_of_what_is_committed_is_never_beyond_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(&dir, 4, Wal::open(dir.path()).unwrap()).await;
    for (marked, said) in [(2, 2), (3, 3), (9, 3)] {
        log.save_committed(Some(at(marked))).await.unwrap();
        assert_eq!(log.read_committed().await.unwrap(), Some(at(said)));
    }
}

#[tokio::test]
async fn a_log_with_a_hole_is_corrupted() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = filled(&dir, 4, Wal::open(dir.path()).unwrap()).await;
    log.blocking_append([Entry { log_id: at(6), payload: EntryPayload::Blank }]).await.unwrap();
    drop(log);
    let error = open(Wal::open(dir.path()).unwrap()).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string()),
        (io::ErrorKind::InvalidData, "corrupted: log entry 4 is missing".to_owned())
    );
}
