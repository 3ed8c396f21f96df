//! Backups, restoring them, and going on from the last replica.

use std::fs;

use model::Labels;
use raft::{OpenError, RaftStore, Settings};
use store::Store;
use store_conformance::fixture::{commit, config, number, number_in, put, secret, stored};

use crate::fixture::{Group, alone, listening, open};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_restores_everything_into_a_new_group() {
    let (store, dir) = open().await;
    for n in 0..20 {
        commit(&store, put(config(&n.to_string()), number(n)).put(secret("m", "s"), Labels::new(), number(n))).await;
    }
    let file = dir.path().join("all.backup");
    let saved = store.backup(&file).await.unwrap();
    commit(&store, put(config("later"), number(1))).await;
    let bytes = fs::read(&file).unwrap();
    assert!(!bytes.windows(13).any(|w| w == br#"{"data":"0019"#), "secrets are sealed");
    let place = tempfile::tempdir().unwrap();
    let settings = alone(place.path());
    let lost = raft::restore(&settings, &file).await.unwrap_err();
    assert!(matches!(lost, OpenError::KeyLost { .. }), "{lost}");
    let told = lost.to_string();
    let key_file = place.path().join("cluster.keys").display().to_string();
    assert!(told.contains(&key_file) && told.matches("put the key").count() == 1, "{told}");
    fs::copy(dir.path().join("cluster.keys"), place.path().join("cluster.keys")).unwrap();
    let revision = raft::restore(&settings, &file).await.unwrap();
    assert!(revision > store.snapshot().revision(), "no revision is used twice");
    let restored = RaftStore::open(settings.clone()).await.unwrap();
    assert_eq!(restored.snapshot().len(), 21);
    assert_eq!(number_in(&stored(&restored, &secret("m", "s")).spec), 19);
    assert!(restored.snapshot().get(&config("later")).is_none());
    assert_eq!(stored(&restored, &config("7")).meta, {
        let mut meta = stored(&store, &config("7")).meta.clone();
        meta.version = stored(&restored, &config("7")).meta.version;
        meta
    });
    assert!(commit(&restored, put(config("new"), number(1))).await.revision > saved);
    restored.shutdown().await;
    drop(restored);
    let error = raft::restore(&settings, &file).await.unwrap_err();
    assert!(matches!(error, OpenError::Settings(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_replica_of_a_group_goes_on_alone_and_others_join_it() {
    let mut group = Group::of(3).await;
    for n in 0..20 {
        commit(&group.replicas[1].0, put(config(&n.to_string()), number(n))).await;
    }
    let (survivor, dir) = group.replicas.remove(1);
    for (store, _) in &group.replicas {
        store.shutdown().await;
    }
    survivor.shutdown().await;
    let id = survivor.status().id;
    drop(survivor);
    let revision = raft::recover_alone(&listening(dir.path())).await.unwrap();
    assert_eq!(revision.0, 20);
    let survivor = RaftStore::open(listening(dir.path())).await.unwrap();
    assert_eq!(survivor.status().id, id);
    assert_eq!(survivor.snapshot().len(), 20);
    commit(&survivor, put(config("after"), number(1))).await;
    let mut group = Group::founded_by(survivor, dir, listening);
    group.join().await;
    commit(&group.replicas[1].0, put(config("joined"), number(1))).await;
    assert_eq!(group.replicas[1].0.snapshot().len(), 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_a_replica_has_nothing_to_recover() {
    let dir = tempfile::tempdir().unwrap();
    let error = raft::recover_alone(&Settings::new(dir.path())).await.unwrap_err();
    assert!(matches!(error, OpenError::Settings(_)), "{error}");
}
