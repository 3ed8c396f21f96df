//! Three replicas: the suite on one that follows, and what happens when one is lost.

use std::time::{Duration, Instant};

use model::Labels;
use raft::{ChangeError, Join, OpenError, RaftStore, Role, Settings};
use store::{KindFilter, Store, Txn};
use store_conformance::fixture::{commit, config, number, number_in, put, refused, secret, stored};

use crate::fixture::{Group, applied, electing, leads, listening, surely, until};

/// The suite's store: a follower, so that every write is forwarded and every consistent read asks
/// the leader.
struct Follower(RaftStore);

#[async_trait::async_trait]
impl Store for Follower {
    fn snapshot(&self) -> store::Snapshot {
        self.0.snapshot()
    }
    async fn consistent(&self) -> Result<store::Snapshot, store::ReadError> {
        self.0.consistent().await
    }
    async fn commit(&self, txn: Txn) -> Result<store::Committed, store::CommitError> {
        self.0.commit(txn).await
    }
    fn watch(&self, from: Option<store::Revision>, filter: KindFilter) -> store::Watch {
        self.0.watch(from, filter)
    }
    /// The group's: the suite asks whether the store is led, not whether this replica leads.
    fn leadership(&self) -> tokio::sync::watch::Receiver<store::Leadership> {
        let term = self.0.leadership().borrow().term;
        tokio::sync::watch::channel(store::Leadership { term, leads: true }).1
    }
}

async fn open() -> (Follower, Group) {
    let group = Group::of(3).await;
    let follower = group.follower().await.clone();
    (Follower(follower), group)
}

mod suite {
    use super::open;
    store_conformance::suite!(open);
}

#[test]
fn random_histories_agree_with_the_model() {
    store_conformance::history::agrees_with_the_model(1, open);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_has_the_same_state() {
    let group = Group::of(3).await;
    let mut last = store::Revision(0);
    for n in 0..30 {
        let (store, _) = &group.replicas[n % 3];
        let txn = put(config(&format!("c{n}")), number(1)).put(secret("m", "s"), Labels::new(), number(2));
        last = commit(store, txn).await.revision;
    }
    for (store, _) in &group.replicas {
        applied(store, last).await;
    }
    let [first, second, third] = [0, 1, 2].map(|n| group.replicas[n].0.snapshot());
    assert!(first.iter().eq(second.iter()) && first.iter().eq(third.iter()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_serves_when_the_old_one_is_lost() {
    let mut group = Group::with(3, electing).await;
    for n in 0..20 {
        surely(group.follower().await, put(config(&n.to_string()), number(n))).await;
    }
    let leader = group.leader().await.status();
    let at = group.replicas.iter().position(|(store, _)| store.status().id == leader.id).unwrap();
    let (lost, dir) = group.replicas.remove(at);
    lost.shutdown().await;
    drop(lost);
    let start = Instant::now();
    let committed = surely(&group.replicas[0].0, put(config("after"), number(1))).await;
    println!("next write acknowledged {:?} after the leader was lost", start.elapsed());
    assert_eq!(group.replicas[0].0.snapshot().len(), 21);
    assert!(group.leader().await.status().term > leader.term);
    // It comes back with what it had, and learns the rest.
    let back = RaftStore::open(electing(dir.path())).await.unwrap();
    group.replicas.push((back, dir));
    for (store, _) in &group.replicas {
        applied(store, committed.revision).await;
    }
    let states: Vec<_> = group.replicas.iter().map(|(store, _)| store.snapshot()).collect();
    assert!(states.iter().all(|state| state.iter().eq(states[0].iter())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_group_comes_back_after_a_restart() {
    let mut group = Group::of(3).await;
    let committed = commit(&group.replicas[1].0, put(config("c"), number(7))).await;
    let addresses: Vec<_> = group.replicas.iter().map(|(store, _)| store.address().parse().unwrap()).collect();
    let mut dirs = Vec::new();
    for (store, dir) in group.replicas.drain(..) {
        store.shutdown().await;
        dirs.push(dir);
    }
    for (dir, address) in dirs.into_iter().zip(addresses) {
        let settings = Settings { listen: Some(address), ..electing(dir.path()) };
        group.replicas.push((RaftStore::open(settings).await.unwrap(), dir));
    }
    group.leader().await;
    for (store, _) in &group.replicas {
        applied(store, committed.revision).await;
        assert_eq!(number_in(&stored(store, &config("c")).spec), 7);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_joins_late_catches_up_from_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { snapshot_after_entries: 20, entries_kept: 5, ..listening(dir.path()) };
    let first = RaftStore::open(settings).await.unwrap();
    for n in 0..100 {
        commit(&first, put(config(&format!("c{n}")), number(n)).put(secret("m", "s"), Labels::new(), number(n))).await;
    }
    // A snapshot that is due while another is taken waits for the next write.
    while first.status().snapshot_index <= 50 {
        commit(&first, put(config("more"), number(1))).await;
    }
    let mut group = Group::founded_by(first, dir, listening);
    group.join().await;
    let (joined, _) = &group.replicas[1];
    until(joined, |status| status.snapshot_index > 50).await;
    assert!(joined.snapshot().iter().eq(group.replicas[0].0.snapshot().iter()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sixth_replica_reads_and_writes_but_does_not_vote() {
    let mut group = Group::of(5).await;
    let id = group.join().await;
    let (sixth, _) = &group.replicas[5];
    commit(sixth, put(config("c"), number(1))).await;
    let status = group.leader().await.status();
    assert!(!status.members.iter().find(|m| m.id == id).unwrap().voter);
    assert_eq!(sixth.status().role, Role::Learner);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_nothing() {
    let group = Group::of(1).await;
    let other = Group::of(1).await;
    let dir = tempfile::tempdir().unwrap();
    // The right authority, another secret.
    let (token, foreign) = (group.invitation().token, other.invitation().token);
    let secret = foreign.rsplit_once('.').unwrap().1;
    let forged = format!("{}.{secret}", token.rsplit_once('.').unwrap().0);
    let join = Join { token: forged, ..group.invitation() };
    let error = RaftStore::open(Settings { join: Some(join), ..listening(dir.path()) }).await.unwrap_err();
    assert!(matches!(error, OpenError::Settings(_)), "{error}");
    assert!(error.to_string().contains("join token is not valid"), "{error}");
    let error = RaftStore::open(Settings {
        join: Some(Join { token: "x".into(), ..group.invitation() }),
        ..listening(dir.path())
    });
    assert!(matches!(error.await.unwrap_err(), OpenError::Settings(_)));
    assert_eq!(group.replicas[0].0.status().members.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_without_waiting_for_an_election_timeout() {
    // Nobody stands for election by himself while this test runs.
    let group = Group::of(3).await;
    commit(&group.replicas[0].0, put(config("c"), number(1))).await;
    let target = group.follower().await;
    let start = Instant::now();
    // Ordered at the third replica, which passes it on.
    group.replicas[2].0.hand_over(target.status().id).await.unwrap();
    until(target, leads).await;
    surely(target, put(config("c"), number(2))).await;
    println!("handed over in {:?}", start.elapsed());
    assert_eq!(group.leader().await.status().id, target.status().id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_replica_is_gone_and_the_leader_must_be_handed_over_first() {
    let group = Group::of(3).await;
    let leader = group.leader().await;
    let follower = group.follower().await;
    let error = follower.remove(leader.status().id).await.unwrap_err();
    assert!(matches!(&error, ChangeError::Refused(why) if why.contains("hand over")), "{error}");
    let gone = follower.status().id;
    leader.remove(gone).await.unwrap();
    until(leader, |status| status.members.iter().all(|m| m.id != gone)).await;
    commit(leader, put(config("c"), number(1))).await;
    let error = leader.remove(gone).await.unwrap_err();
    assert!(error.to_string().contains("there is no replica"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_seals_on_every_replica() {
    let group = Group::of(3).await;
    commit(&group.replicas[0].0, put(secret("m", "old"), number(1))).await;
    group.follower().await.rotate_key().await.unwrap();
    for (n, (store, dir)) in group.replicas.iter().enumerate() {
        let keys = std::fs::read_to_string(dir.path().join("cluster.keys")).unwrap();
        assert!(keys.starts_with("active 2\n"), "{keys}");
        commit(store, put(secret("m", &n.to_string()), number(2))).await;
    }
    assert_eq!(group.replicas[2].0.snapshot().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minority_refuses_writes_and_consistent_reads_but_still_reads() {
    let mut group = Group::with(3, |dir| Settings { commit_timeout: Duration::from_secs(5), ..listening(dir) }).await;
    surely(&group.replicas[0].0, put(config("c"), number(1))).await;
    let leader = group.leader().await.status().id;
    let at = group.replicas.iter().position(|(store, _)| store.status().id == leader).unwrap();
    let (left, _dir) = group.replicas.swap_remove(at);
    for (store, _) in &group.replicas {
        store.shutdown().await;
    }
    let (write, read) = tokio::join!(left.commit(put(config("c"), number(2))), left.consistent());
    assert!(matches!(write, Err(store::CommitError::Unknown | store::CommitError::NoLeader { .. })), "{write:?}");
    assert!(matches!(read, Err(store::ReadError::NoLeader { .. })), "{read:?}");
    assert_eq!(number_in(&stored(&left, &config("c")).spec), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_holds_across_replicas() {
    let group = Group::of(3).await;
    let (first, _) = &group.replicas[0];
    let version = commit(first, put(config("c"), number(1))).await.revision;
    commit(&group.replicas[1].0, put(config("c"), number(2)).require_version(config("c"), version.0)).await;
    applied(&group.replicas[2].0, store::Revision(version.0 + 1)).await;
    refused(&group.replicas[2].0, put(config("c"), number(3)).require_version(config("c"), version.0)).await;
}

/// The one that takes over must have all that the others have, so nothing is written meanwhile; nobody
/// who writes is told anything else than that it is done, or not.
#[tokio::test(flavor = "multi_thread")]
async fn the_leadership_is_handed_over_while_everybody_writes() {
    let group = Group::of(3).await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (0..6)
        .map(|n| {
            let (store, stop) = (group.replicas[n % 3].0.clone(), std::sync::Arc::clone(&stop));
            tokio::spawn(async move {
                let mut written = 0;
                while !stop.load(std::sync::atomic::Ordering::Acquire) {
                    surely(&store, put(config(&format!("c{n}")), number(written))).await;
                    written += 1;
                }
                written
            })
        })
        .collect();
    for _ in 0..6 {
        let next = group.follower().await.status().id;
        group.leader().await.hand_over(next).await.unwrap();
        group.until(|status| status.leader == Some(next)).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Release);
    for writer in writers {
        assert!(writer.await.unwrap() > 0);
    }
}
