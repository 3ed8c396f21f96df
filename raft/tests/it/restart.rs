//! What survives a restart, and what a data directory says when it cannot be used.

use std::fs;
use std::path::Path;

use model::{Key, Labels, registry};
use raft::{OpenError, RaftStore, Settings};
use store::{Store, Txn};
use store_conformance::fixture::{commit, config, number, put, refused, secret, stored, text};

use crate::fixture::{alone, open, open_in};

async fn stop(store: RaftStore) {
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart() {
    let (store, dir) = open().await;
    for n in 0..50 {
        commit(&store, put(config(&format!("c{n}")), number(n)).put(secret("m", "s"), Labels::new(), number(n))).await;
    }
    let before = store.snapshot();
    let id = store.status().id;
    stop(store).await;
    let store = open_in(dir.path()).await;
    let after = store.snapshot();
    assert_eq!(after.revision(), before.revision());
    assert!(after.iter().eq(before.iter()));
    assert_eq!(store.status().id, id);
    let version = stored(&store, &config("c7")).meta.version;
    refused(&store, put(config("c7"), number(0)).require_version(config("c7"), version + 1)).await;
    commit(&store, put(config("c7"), number(0)).require_version(config("c7"), version)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_after_snapshots_and_purges_continues_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let settings = || Settings { snapshot_after_entries: 20, entries_kept: 5, ..alone(dir.path()) };
    let mut expected = 0;
    for round in 0..3 {
        let store = RaftStore::open(settings()).await.unwrap();
        assert_eq!(store.snapshot().revision().0, expected);
        for n in 0..100 {
            commit(&store, put(config(&format!("c{n}")), number(round))).await;
        }
        expected += 100;
        stop(store).await;
    }
    let store = RaftStore::open(settings()).await.unwrap();
    assert!(store.status().snapshot_index > 0);
    assert_eq!(store.snapshot().len(), 100);
    // One that is being taken has another name until it is whole.
    let whole = fs::read_dir(dir.path().join("snapshots"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "snapshot"));
    assert_eq!(whole.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_directory_serves_at_once() {
    let dir = tempfile::tempdir().unwrap();
    // If an election were waited for, this would not end.
    let hour = std::time::Duration::from_secs(3600);
    let settings = Settings { election_timeout_min: hour, election_timeout_max: hour * 2, ..alone(dir.path()) };
    let start = std::time::Instant::now();
    let store = RaftStore::open(settings).await.unwrap();
    println!("ready in {:?}", start.elapsed());
    commit(&store, put(config("c"), number(1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_term_outlives_the_process_only_with_its_leader() {
    let (store, dir) = open().await;
    let term = store.leadership().borrow().term;
    stop(store).await;
    let store = open_in(dir.path()).await;
    assert!(store.leadership().borrow().term >= term);
    assert!(store.leadership().borrow().leads);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_side_file_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { snapshot_after_entries: 10, entries_kept: 2, ..alone(dir.path()) };
    let store = RaftStore::open(settings).await.unwrap();
    let large = "z".repeat(300_000);
    for n in 0..30 {
        let txn = put(Key::global(registry::GLOBAL_SECRET, &n.to_string()), text("correcthorsebatterystaple000"));
        commit(&store, txn.put(config("large"), Labels::new(), text(&large))).await;
    }
    stop(store).await;
    for file in files(dir.path()) {
        assert!(!file.to_string_lossy().contains("blobs"), "{}", file.display());
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(13).any(|w| w == b"correcthorseb"), "{}", file.display());
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_opener_is_told_that_the_directory_is_in_use() {
    let (store, dir) = open().await;
    let error = RaftStore::open(Settings::new(dir.path())).await.unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    stop(store).await;
}

/// Fills a directory, damages it, and says what opening it says.
async fn damaged(damage: impl Fn(&Path)) -> OpenError {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { snapshot_after_entries: 10, entries_kept: 5, ..alone(dir.path()) };
    let store = RaftStore::open(settings).await.unwrap();
    for n in 0..40 {
        commit(&store, put(secret("m", "s"), number(n))).await;
    }
    // None is under way any more: it would be finished after the damage. One that was due while
    // another was taken waits for the next write.
    while store.status().last_log_index >= store.status().snapshot_index + 10 {
        commit(&store, put(secret("m", "s"), number(0))).await;
    }
    stop(store).await;
    damage(dir.path());
    RaftStore::open(Settings::new(dir.path())).await.unwrap_err()
}

fn the_snapshot(dir: &Path) -> std::path::PathBuf {
    fs::read_dir(dir.join("snapshots")).unwrap().next().unwrap().unwrap().path()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_file_is_named_and_not_replaced() {
    let error = damaged(|dir| fs::remove_file(dir.join("cluster.keys")).unwrap()).await;
    assert!(matches!(error, OpenError::KeyLost { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_is_not_taken_for_the_right_one() {
    let error = damaged(|dir| {
        let key = format!("active 1\n1 {}=\n", "A".repeat(43));
        fs::write(dir.join("cluster.keys"), key).unwrap();
    })
    .await;
    assert!(matches!(error, OpenError::Corrupted { .. }), "{error}");
    assert!(error.to_string().contains("unsealed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_corruption() {
    let error = damaged(|dir| {
        let path = the_snapshot(dir);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    })
    .await;
    assert!(matches!(error, OpenError::Corrupted { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_its_end_is_corruption() {
    let error = damaged(|dir| {
        // It looks like the torn end that a crash leaves.
        let path = files(&dir.join("log/entries")).pop().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[end / 3..=end].fill(0);
        fs::write(path, bytes).unwrap();
    })
    .await;
    assert!(matches!(error, OpenError::Corrupted { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_a_newer_format_is_no_corruption() {
    let error = damaged(|dir| {
        let path = the_snapshot(dir);
        let mut bytes = fs::read(&path).unwrap();
        bytes[12] = 77;
        fs::write(path, bytes).unwrap();
    })
    .await;
    assert!(matches!(error, OpenError::Newer { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_snapshot_is_corruption() {
    let error = damaged(|dir| fs::remove_file(the_snapshot(dir)).unwrap()).await;
    assert!(matches!(error, OpenError::Corrupted { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_identity_is_not_replaced() {
    let error = damaged(|dir| fs::remove_file(dir.join("replica")).unwrap()).await;
    assert!(matches!(error, OpenError::Corrupted { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_none_is_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "x").unwrap();
    let error = RaftStore::open(Settings::new(&path)).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreadable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_transaction_is_refused_and_the_next_is_served() {
    let (store, _dir) = open().await;
    let huge = text(&"x".repeat(9 * 1024 * 1024));
    let error = store.commit(Txn::new().put(config("huge"), Labels::new(), huge)).await.unwrap_err();
    assert!(matches!(error, store::CommitError::Refused(_)), "{error}");
    commit(&store, put(config("small"), number(1))).await;
}
