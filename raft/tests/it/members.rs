//! Who is in the group: replicas that were removed, found it together, lost their disk, are of
//! another version, or joined with a token that was replaced.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use raft::{OpenError, Peers, RaftStore, Role, Settings};
use store::Store;
use store_conformance::fixture::{commit, config, number, number_in, put, stored};
use tempfile::TempDir;

use crate::fixture::{Group, PATIENCE, applied, electing, listening, surely, until};

pub(crate) async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event).await.expect("it happens")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_replica_learns_it_and_never_comes_back() {
    let mut group = Group::of(3).await;
    let gone = group.follower().await.status().id;
    group.leader().await.remove(gone).await.unwrap();
    let at = group.replicas.iter().position(|(store, _)| store.status().id == gone).unwrap();
    let (removed, dir) = group.replicas.swap_remove(at);
    let why = soon(removed.failed()).await;
    assert!(why.contains(&format!("replica {gone} was removed")), "{why}");
    // It has disturbed nobody.
    commit(&group.replicas[0].0, put(config("c"), number(1))).await;
    removed.shutdown().await;
    drop(removed);
    let error = RaftStore::open(listening(dir.path())).await.unwrap_err();
    assert!(matches!(error, OpenError::Removed { id, .. } if id == gone), "{error}");
    // Its certificate is refused, even if it does not know.
    std::fs::remove_file(dir.path().join("expelled")).unwrap();
    let unaware = RaftStore::open(listening(dir.path())).await.unwrap();
    let why = soon(unaware.failed()).await;
    assert!(why.contains("was removed"), "{why}");
    assert!(group.leader().await.status().members.iter().all(|m| m.id != gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_away_learns_who_was_removed_meanwhile() {
    let mut group = Group::of(4).await;
    let leader = group.leader().await.status().id;
    let follows = |(store, _): &(RaftStore, TempDir)| store.status().id != leader;
    let at = group.replicas.iter().position(follows).unwrap();
    let (away, dir) = group.replicas.remove(at);
    away.shutdown().await;
    drop(away);
    let gone = group.follower().await.status().id;
    group.leader().await.remove(gone).await.unwrap();
    let back = RaftStore::open(listening(dir.path())).await.unwrap();
    until(&back, |status| status.members.len() == 3).await;
    soon(async {
        while !back.vitals().removed.contains(&gone) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Addresses that nobody uses.
pub(crate) fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let bound: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    bound.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

/// The one configuration of all peers, as the one at `own`.
pub(crate) fn peer(dir: &Path, addresses: &[SocketAddr], own: SocketAddr) -> Settings {
    let peers = Peers {
        addresses: addresses.iter().map(ToString::to_string).collect(),
        own: own.to_string(),
        secret: "correct horse battery staple".to_owned(),
    };
    Settings { listen: Some(own), peers: Some(peers), ..electing(dir) }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_with_one_configuration_found_one_group_and_replace_one_that_lost_its_disk() {
    let addresses = free_addresses(3);
    let mut dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    // The founder comes last, and nobody begins without it.
    let start =
        |at: usize, dirs: &[TempDir]| tokio::spawn(RaftStore::open(peer(dirs[at].path(), &addresses, addresses[at])));
    let late = [start(2, &dirs), start(1, &dirs)];
    let founder = soon(start(0, &dirs)).await.unwrap().unwrap();
    let mut replicas = vec![founder];
    for opened in late {
        replicas.push(soon(opened).await.unwrap().unwrap());
    }
    let all_vote = |status: &raft::Status| status.members.iter().filter(|m| m.voter).count() == 3;
    for store in &replicas {
        until(store, all_vote).await;
    }
    surely(&replicas[1], put(config("c"), number(1))).await;
    // The founder loses its disk, while the others go on.
    let lost = replicas[0].status().id;
    replicas.remove(0).shutdown().await;
    dirs[0] = tempfile::tempdir().unwrap();
    replicas.insert(0, soon(start(0, &dirs)).await.unwrap().unwrap());
    for store in &replicas {
        until(store, |status| all_vote(status) && status.members.len() == 3).await;
        assert!(store.status().members.iter().all(|m| m.id != lost), "the lost one is gone");
        applied(store, store::Revision(1)).await;
        assert_eq!(number_in(&stored(store, &config("c")).spec), 1);
    }
    // All at once again: each is who it was (they stand in the order of their first starts).
    let ids: Vec<_> = replicas.iter().map(|store| store.status().id).collect();
    for store in replicas.drain(..) {
        store.shutdown().await;
    }
    let opened: Vec<_> = [0, 2, 1].into_iter().map(|at| start(at, &dirs)).collect();
    for opened in opened {
        replicas.push(soon(opened).await.unwrap().unwrap());
    }
    assert_eq!(replicas.iter().map(|store| store.status().id).collect::<Vec<_>>(), ids);
    surely(&replicas[1], put(config("c"), number(2))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_at_the_address_of_a_lost_one_does_not_count_as_both() {
    let mut group = Group::of(3).await;
    let lost = group.follower().await.status().id;
    let at = group.replicas.iter().position(|(store, _)| store.status().id == lost).unwrap();
    let (store, _dir) = group.replicas.swap_remove(at);
    let address: SocketAddr = store.address().parse().unwrap();
    store.shutdown().await;
    drop(store);
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { listen: Some(address), join: Some(group.invitation()), ..listening(dir.path()) };
    let newcomer = RaftStore::open(settings).await.unwrap();
    let leader = group.leader().await;
    let revision = commit(leader, put(config("c"), number(1))).await.revision;
    applied(&newcomer, revision).await;
    let reached = leader.pulses().await;
    let pulse = |id| &reached.iter().find(|pulse| pulse.id == id).unwrap().vitals;
    assert!(pulse(newcomer.status().id).is_ok());
    let why = pulse(lost).as_ref().unwrap_err();
    assert!(why.contains(&format!("replica {lost} is not here")), "{why}");
    let replicated = leader.status().members.iter().find(|m| m.id == lost).unwrap().replicated;
    assert!(replicated.is_none_or(|index| index < leader.status().last_log_index));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_join_token_lets_nobody_in_and_the_new_one_does() {
    let mut group = Group::of(2).await;
    let former = group.invitation();
    group.replicas[1].0.rotate_join_token().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let error = RaftStore::open(Settings { join: Some(former), ..listening(dir.path()) }).await.unwrap_err();
    assert!(error.to_string().contains("join token is not valid"), "{error}");
    assert_eq!(group.replicas[0].0.join_token(), group.replicas[1].0.join_token());
    group.join().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_tells_how_it_does_and_one_that_is_away_is_told_as_such() {
    let group = Group::of(3).await;
    group.replicas[2].0.set_note(serde_json::json!({"proxies": 7}));
    let follower = &group.replicas[1].0;
    let pulses = follower.pulses().await;
    assert_eq!(pulses.len(), 3);
    assert!(pulses.iter().all(|pulse| pulse.vitals.as_ref().is_ok_and(|vitals| vitals.id == pulse.id)), "{pulses:?}");
    let third = group.replicas[2].0.status().id;
    let of_third = pulses.iter().find(|pulse| pulse.id == third).unwrap().vitals.clone().unwrap();
    assert_eq!(of_third.note["proxies"], 7);
    group.replicas[2].0.shutdown().await;
    let pulses = follower.pulses().await;
    assert!(pulses.iter().all(|pulse| pulse.vitals.is_err() == (pulse.id == third)), "{pulses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_an_older_version_gets_nothing_that_it_cannot_read() {
    let mut group = Group::of(2).await;
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { reads_format: 1, join: Some(group.invitation()), ..listening(dir.path()) };
    let older = RaftStore::open(settings).await.unwrap();
    for n in 0..10 {
        let (store, _) = &group.replicas[n % 2];
        commit(store, put(config("c"), number(n as u64)).by("alice")).await;
    }
    let revision = commit(&older, put(config("d"), number(1)).by("bob")).await.revision;
    applied(&older, revision).await;
    assert_ne!(older.status().role, Role::Stopped);
    assert!(older.snapshot().iter().eq(group.replicas[0].0.snapshot().iter()));
    older.shutdown().await;
    group.replicas.clear();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_version_wrote_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let store = RaftStore::open(listening(dir.path())).await.unwrap();
    commit(&store, put(config("c"), number(1)).by("alice")).await;
    store.shutdown().await;
    drop(store);
    let error = RaftStore::open(Settings { reads_format: 1, ..listening(dir.path()) }).await.unwrap_err();
    assert!(error.to_string().contains("written by a newer version (format 2, this one reads up to 1)"), "{error}");
    let store = RaftStore::open(listening(dir.path())).await.unwrap();
    assert_eq!(number_in(&stored(&store, &config("c")).spec), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_go_on_with_renewed_certificates_when_the_first_ones_have_ended() {
    let renewal = Duration::from_secs(1);
    let group = Group::with(3, |dir| Settings { certificate_renewal: Duration::from_secs(1), ..electing(dir) }).await;
    let start = Instant::now();
    // For longer than the first certificates hold.
    while start.elapsed() < renewal * 5 {
        surely(&group.replicas[2].0, put(config("c"), number(1))).await;
    }
    assert!(group.replicas[0].0.pulses().await.iter().any(|pulse| pulse.vitals.is_ok()));
}

/// Control planes ask each other what this crate does not read.
#[tokio::test(flavor = "multi_thread")]
async fn questions_reach_every_other_replica_and_who_is_silent_is_named() {
    let group = Group::of(3).await;
    let [(first, _), (second, _), (third, _)] = &group.replicas[..] else { panic!("three") };
    let id = second.status().id;
    second.respond(std::sync::Arc::new(move |question| Box::pin(async move { serde_json::json!([id, question]) })));
    let question = serde_json::json!({"what": 1});
    let said = futures::future::join_all(first.ask_others(&question, PATIENCE)).await;
    let of = |id: u64| said.iter().find(|said| said.id == id).map(|said| said.answer.clone()).unwrap();
    assert_eq!((said.len(), of(id)), (2, Ok(serde_json::json!([id, question]))));
    assert_eq!(of(third.status().id), Err("it serves no proxies".to_owned()));
    third.shutdown().await;
    let said = futures::future::join_all(first.ask_others(&question, PATIENCE)).await;
    assert_eq!(said.iter().filter(|said| said.answer.is_ok()).map(|said| said.id).collect::<Vec<_>>(), [id]);
}
