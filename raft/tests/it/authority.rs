//! The authority of the replicas is replaced: while everybody writes, after it was cut short anywhere,
//! and so that whoever holds the former one is nobody.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use raft::{ChangeError, Join, OpenError, RaftStore, ReplicaId, Settings, Status};
use store::{CommitError, Store};
use store_conformance::fixture::{config, number, put};
use tempfile::TempDir;

use crate::fixture::{Group, PATIENCE, applied, electing, listening, surely, until};
use crate::members::{free_addresses, peer, soon};
use crate::thief::Thief;

/// Orders it until it is done: leaders may come and go meanwhile.
async fn rotated(store: &RaftStore) {
    let done = async {
        loop {
            match store.rotate_authority().await {
                Ok(()) => return,
                Err(ChangeError::NoLeader { .. } | ChangeError::Unknown(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, done).await.expect("the authority is replaced");
}

fn pki(dir: &TempDir) -> String {
    std::fs::read_to_string(dir.path().join("cluster.pki")).unwrap()
}

fn token_file(dir: &TempDir) -> Option<String> {
    std::fs::read_to_string(dir.path().join("join-token")).ok()
}

/// What is held, when all hold the same.
fn agreed(group: &Group) -> String {
    let held: Vec<_> = group.replicas.iter().map(|(_, dir)| pki(dir)).collect();
    assert!(held.iter().all(|text| *text == held[0]), "{held:#?}");
    let token = group.replicas[0].0.join_token().unwrap();
    for (store, dir) in &group.replicas {
        assert_eq!(store.join_token().unwrap(), token);
        // It is there once the token was replaced.
        assert!(token_file(dir).is_none_or(|text| text == token));
    }
    held[0].clone()
}

/// Stops the replica at a place, changes its directory, and starts it where it was.
async fn restart(group: &mut Group, at: usize, change: impl FnOnce(&Path)) {
    let (store, dir) = group.replicas.remove(at);
    let address: SocketAddr = store.address().parse().unwrap();
    store.shutdown().await;
    drop(store);
    change(dir.path());
    let settings = Settings { listen: Some(address), ..electing(dir.path()) };
    group.replicas.insert(at, (RaftStore::open(settings).await.unwrap(), dir));
}

/// Every replica takes a write, and all have it.
async fn works(group: &Group) {
    for (store, _) in &group.replicas {
        let revision = surely(store, put(config("c"), number(1))).await.revision;
        for (other, _) in &group.replicas {
            applied(other, revision).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_authority_is_replaced_while_everybody_writes() {
    let mut group = Group::with(3, electing).await;
    let before = agreed(&group);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = group
        .replicas
        .iter()
        .enumerate()
        .map(|(n, (store, _))| {
            let (store, stop) = (store.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut written, mut in_doubt) = (0, 0);
                while !stop.load(Ordering::Acquire) {
                    match store.commit(put(config(&format!("c{n}")), number(written))).await {
                        Ok(_) => written += 1,
                        Err(CommitError::Unknown | CommitError::NoLeader { .. }) => in_doubt += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                (written, in_doubt)
            })
        })
        .collect();
    for _ in 0..10 {
        rotated(&group.replicas[1].0).await;
    }
    stop.store(true, Ordering::Release);
    for writer in writers {
        let (written, in_doubt) = writer.await.unwrap();
        println!("{written} writes acknowledged, {in_doubt} to be tried again");
        assert!(written > 0);
    }
    let after = agreed(&group);
    assert_ne!(after, before);
    assert!(group.replicas.iter().all(|(_, dir)| token_file(dir).is_some()));
    assert_eq!(after.matches("-----BEGIN").count(), 2, "the former one is gone: {after}");
    works(&group).await;
    for at in 0..3 {
        restart(&mut group, at, |_| {}).await;
        works(&group).await;
    }
    assert_eq!(agreed(&group), after);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_the_former_authority_is_refused() {
    let group = Group::of(3).await;
    let before = agreed(&group);
    let id = group.replicas[0].0.status().id;
    let mut open = Vec::new();
    for (store, _) in &group.replicas {
        let thief = Thief::with(&before, id);
        assert!(thief.connect(store.address(), &before).await.unwrap().is_believed().await, "it is one of them");
        open.push(thief.connect(store.address(), &before).await.unwrap());
        assert!(open.last_mut().unwrap().is_believed().await);
    }
    rotated(&group.replicas[0].0).await;
    let after = agreed(&group);
    for ((store, _), open) in group.replicas.iter().zip(&mut open) {
        assert!(!open.is_believed().await, "by a connection that it has had before");
        let thief = Thief::with(&before, id);
        // It need not believe the others to ask them.
        let asked = thief.connect(store.address(), &after).await;
        if let Ok(mut connection) = asked {
            assert!(!connection.is_believed().await, "by a new connection");
        }
        assert!(thief.connect(store.address(), &before).await.is_err(), "nobody shows the former one");
        let mut member = Thief::with(&after, id).connect(store.address(), &after).await.unwrap();
        assert!(member.is_believed().await, "who has the new one is believed");
    }
    works(&group).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_replica_joins_with_the_new_token_and_not_with_the_former() {
    let mut group = Group::of(2).await;
    let former = group.invitation();
    rotated(&group.replicas[1].0).await;
    let dir = tempfile::tempdir().unwrap();
    let join = |join: Join| RaftStore::open(Settings { join: Some(join), ..listening(dir.path()) });
    let error = join(former.clone()).await.unwrap_err();
    assert!(matches!(error, OpenError::Settings(_)), "{error}");
    assert!(error.to_string().contains("its authority was replaced"), "{error}");
    // Who knows the former secret and pins the new authority comes no further.
    let part = |token: &str, n: usize| token.split('.').nth(n).unwrap().to_owned();
    let token = group.invitation().token;
    let forged = format!("kuma-join.{}.{}", part(&token, 1), part(&former.token, 2));
    let error = join(Join { token: forged, ..former }).await.unwrap_err();
    assert!(error.to_string().contains("join token is not valid"), "{error}");
    group.join().await;
    works(&group).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_while_a_replica_is_away_or_older() {
    let mut group = Group::with(3, electing).await;
    let before = agreed(&group);
    let (away, dir) = group.replicas.remove(2);
    let (id, address): (ReplicaId, SocketAddr) = (away.status().id, away.address().parse().unwrap());
    away.shutdown().await;
    drop(away);
    let refused = async |group: &Group, reason: &str| {
        let asked = async {
            loop {
                match group.replicas[0].0.rotate_authority().await {
                    Err(ChangeError::NoLeader { .. } | ChangeError::Unknown(_)) => {}
                    Err(ChangeError::Refused(why)) => return why,
                    Ok(()) => panic!("not all got it"),
                }
            }
        };
        let why = tokio::time::timeout(PATIENCE, asked).await.expect("an answer");
        assert!(why.contains(&format!("replica {id} {reason}")) && why.contains("nothing was changed"), "{why}");
    };
    refused(&group, "must be reachable or removed").await;
    assert!(group.replicas.iter().all(|(_, dir)| pki(dir) == before));
    let settings = Settings { listen: Some(address), ..electing(dir.path()) };
    let older = RaftStore::open(Settings { reads_format: 2, ..settings.clone() }).await.unwrap();
    refused(&group, "is of an older version").await;
    older.shutdown().await;
    drop(older);
    group.replicas.push((RaftStore::open(settings).await.unwrap(), dir));
    assert_eq!(agreed(&group), before);
    rotated(&group.replicas[0].0).await;
    assert_ne!(agreed(&group), before);
    works(&group).await;
}

/// What a replica holds that has taken the first `steps` of the way from one authority to another.
fn held(from: &str, to: &str, steps: usize) -> String {
    // Secret, certificate, key.
    let parts = |text: &str| {
        let (secret, rest) = text.split_once('\n').unwrap();
        let key = rest.find("-----BEGIN PRIVATE").unwrap();
        (secret.to_owned(), rest[..key].to_owned(), rest[key..].to_owned())
    };
    let ((secret, certificate, key), (_, next, next_key)) = (parts(from), parts(to));
    let (text, generation) = secret.split_once(' ').unwrap_or((&secret, "0"));
    let newer = format!("{text} {}", generation.parse::<u64>().unwrap() + 1);
    match steps {
        0 => from.to_owned(),
        1 => format!("{secret}\n{certificate}{key}next\n{next}{next_key}"),
        2 => format!("{newer}\n{next}{next_key}former\n{certificate}"),
        _ => format!("{newer}\n{next}{next_key}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_was_cut_short_is_gone_on_with() {
    let mut group = Group::with(3, electing).await;
    let foreign = Group::of(1).await;
    for steps in [[1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1], [1, 2, 2], [2, 2, 2], [2, 3, 2], [3, 2, 3]] {
        // Another one each time.
        rotated(&foreign.replicas[0].0).await;
        let (from, to) = (agreed(&group), pki(&foreign.replicas[0].1));
        for (at, steps) in steps.into_iter().enumerate() {
            let text = held(&from, &to, steps);
            restart(&mut group, at, |dir| std::fs::write(dir.join("cluster.pki"), text).unwrap()).await;
        }
        works(&group).await;
        rotated(&group.replicas[0].0).await;
        let now = agreed(&group);
        assert_eq!(now.matches("-----BEGIN").count(), 2, "{steps:?}: the former one is gone");
        assert!(steps.iter().all(|steps| *steps < 2) || now.contains(to.split_once('\n').unwrap().1), "{steps:?}");
        works(&group).await;
    }
}

/// As one whose disk was set back.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_missed_it_comes_back_with_the_file_of_another_one() {
    let mut group = Group::with(3, electing).await;
    let before = agreed(&group);
    rotated(&group.replicas[0].0).await;
    let after = agreed(&group);
    restart(&mut group, 2, |dir| std::fs::write(dir.join("cluster.pki"), before).unwrap()).await;
    let pulses = group.replicas[2].0.pulses().await;
    let own = group.replicas[2].0.status().id;
    for pulse in pulses.iter().filter(|pulse| pulse.id != own) {
        let why = pulse.vitals.as_ref().unwrap_err();
        assert!(why.contains("UnknownIssuer"), "{why}");
    }
    restart(&mut group, 2, |dir| std::fs::write(dir.join("cluster.pki"), after).unwrap()).await;
    works(&group).await;
}

/// The secret of the peers tells the first authority only, and the first join secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_without_a_disk_comes_back_with_the_new_token() {
    let addresses = free_addresses(3);
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let opened = (0..3).map(|at| RaftStore::open(peer(dirs[at].path(), &addresses, addresses[at])));
    let opened = soon(futures::future::join_all(opened)).await;
    let replicas = opened.into_iter().map(Result::unwrap).zip(dirs).collect();
    let mut group = Group { replicas, settings: electing };
    let all_vote = |status: &Status| status.members.iter().filter(|m| m.voter).count() == 3;
    group.until(all_vote).await;
    rotated(&group.replicas[0].0).await;
    let after = agreed(&group);
    let token = group.invitation().token;
    let (lost, _) = group.replicas.remove(0);
    let id = lost.status().id;
    lost.shutdown().await;
    drop(lost);
    let dir = tempfile::tempdir().unwrap();
    let without = peer(dir.path(), &addresses, addresses[0]);
    let others = addresses[1..].iter().map(ToString::to_string).collect();
    let with = Settings { join: Some(Join { addresses: others, token }), ..without };
    group.replicas.insert(0, (soon(RaftStore::open(with)).await.unwrap(), dir));
    let is_replaced = |status: &Status| all_vote(status) && status.members.iter().all(|m| m.id != id);
    group.until(is_replaced).await;
    works(&group).await;
    assert_eq!(pki(&group.replicas[0].1), after);
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_for_twice_at_once_it_is_done_twice() {
    let group = Group::of(3).await;
    let before = agreed(&group);
    tokio::join!(rotated(&group.replicas[0].0), rotated(&group.replicas[2].0));
    assert_ne!(agreed(&group), before);
    works(&group).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_alone_replaces_its_authority_and_one_without_a_listener_has_none() {
    let group = Group::of(1).await;
    let before = agreed(&group);
    rotated(&group.replicas[0].0).await;
    assert_ne!(agreed(&group), before);
    let (alone, _dir) = crate::fixture::open().await;
    let error = alone.rotate_authority().await.unwrap_err();
    assert!(error.to_string().contains("no replica listener"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificates_are_of_the_new_authority() {
    let group =
        Group::with(3, |dir| Settings { certificate_renewal: Duration::from_millis(200), ..electing(dir) }).await;
    rotated(&group.replicas[0].0).await;
    let after = agreed(&group);
    let id = group.replicas[0].0.status().id;
    for _ in 0..3 {
        works(&group).await;
        for (store, _) in &group.replicas {
            until(store, |status| status.leader.is_some()).await;
            assert!(Thief::with(&after, id).connect(store.address(), &after).await.unwrap().is_believed().await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_meanwhile_is_in_or_is_told_to_take_the_new_token() {
    let mut group = Group::of(2).await;
    for _ in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let join = |join: Join| RaftStore::open(Settings { join: Some(join), ..listening(dir.path()) });
        let (opened, ()) = tokio::join!(join(group.invitation()), rotated(&group.replicas[0].0));
        let store = match opened {
            Ok(store) => store,
            Err(error) => {
                let why = error.to_string();
                assert!(why.contains("authority was replaced") || why.contains("join token is not valid"), "{why}");
                soon(join(group.invitation())).await.unwrap()
            }
        };
        let id = store.status().id;
        group.replicas.push((store, dir));
        works(&group).await;
        let (gone, _dir) = group.replicas.pop().unwrap();
        group.leader().await.remove(id).await.unwrap();
        gone.shutdown().await;
    }
}
