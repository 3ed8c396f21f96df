//! A leader that no majority answers: it says so, and another one is elected.

use std::time::Duration;

use model::{Key, Labels, Spec, registry};
use rand::SeedableRng;
use rand::rngs::StdRng;
use store::Txn;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::group::Group;
use super::machine::{ELECTION_TIMEOUT_MIN, Running};
use crate::proposer::{Proposal, Refusal};
use crate::seal::Keyring;
use crate::types::{Outcome, ReplicaId, encode_txn};

/// In virtual time.
const PATIENCE: Duration = Duration::from_secs(60);

fn simulated(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let test = async { tokio::time::timeout(PATIENCE, test).await.expect("it happens") };
    runtime.expect("a runtime can be built").block_on(test);
}

async fn founded(seed: u64) -> Group {
    let group = Group::new(seed, None);
    group.start_all(&mut StdRng::seed_from_u64(seed)).await;
    group.found().await;
    group
}

/// The leader, once it leads, and the others.
async fn led(group: &Group) -> (Running, Vec<ReplicaId>) {
    loop {
        for at in group.places() {
            let running = group.running(at).expect("it runs");
            if running.watches.leadership.borrow().leads {
                let id = group.at(at).id;
                return (running, group.ids().into_iter().filter(|other| *other != id).collect());
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn id(running: &Running) -> ReplicaId {
    running.raft.metrics().borrow().id
}

async fn write(running: &Running) -> Result<Outcome, Refusal> {
    let spec = Spec::of(serde_json::json!({ "config": "1" })).expect("JSON");
    let txn = Txn::new().put(Key::global(registry::CONFIG, "c"), Labels::new(), spec);
    let (reply, outcome) = oneshot::channel();
    let bytes = encode_txn(&txn, &Keyring::generate()).expect("small");
    running.queue.send(Proposal { bytes, typed: None, reply }).await.expect("it runs");
    outcome.await.expect("it is answered")
}

#[test]
fn a_leader_that_is_cut_off_refuses_what_it_cannot_commit() {
    simulated(async {
        let group = founded(1).await;
        let (leader, others) = led(&group).await;
        assert!(write(&leader).await.expect("it leads").is_ok());
        for other in &others {
            group.network.cut(id(&leader), *other);
            group.network.cut(*other, id(&leader));
        }
        // It was appended, and may yet be found by the next leader.
        assert_eq!(write(&leader).await.unwrap_err(), Refusal::Unknown);
        let contact = *leader.watches.contact.borrow();
        assert!(contact.is_cut_off && contact.leader.is_none());
        assert!(!leader.watches.leadership.borrow().leads);
        assert_eq!(write(&leader).await.unwrap_err(), Refusal::NotLeader(None));
        group.network.heal();
        let mut contact = leader.watches.contact.clone();
        contact.wait_for(|now| now.leader.is_some() && !now.is_cut_off).await.expect("it runs");
    });
}

#[test]
fn a_leader_that_hears_nobody_is_replaced_though_all_hear_it() {
    simulated(async {
        let group = founded(2).await;
        let (leader, others) = led(&group).await;
        for other in &others {
            group.network.cut(*other, id(&leader));
        }
        let mut contact = leader.watches.contact.clone();
        contact.wait_for(|now| now.is_cut_off).await.expect("it runs");
        let cut_off = Instant::now();
        let (next, _) = led_by_another(&group, id(&leader)).await;
        // Who has heard a leader elects none for this long, unless it is told to. The time is virtual.
        assert!(cut_off.elapsed() < ELECTION_TIMEOUT_MIN, "it took {:?}", cut_off.elapsed());
        assert!(write(&next).await.expect("it leads").is_ok());
    });
}

#[test]
fn who_was_refused_a_vote_once_waits_no_longer_when_it_is_needed() {
    simulated(async {
        let group = founded(3).await;
        let (leader, others) = led(&group).await;
        let (refused, behind) = (others[0], others[1]);
        // It hears nothing and stands for election; the other one hears the leader and has more.
        group.network.cut(id(&leader), refused);
        assert!(write(&leader).await.expect("it leads").is_ok());
        tokio::time::sleep(ELECTION_TIMEOUT_MIN * 4).await;
        group.network.heal();
        let (leader, _) = led(&group).await;
        assert!(![refused, behind].contains(&id(&leader)));
        assert!(write(&leader).await.expect("it leads").is_ok());
        // It alone gets the last write of the leader.
        group.network.cut(id(&leader), behind);
        assert!(write(&leader).await.expect("it leads").is_ok());
        for other in group.ids() {
            group.network.cut(id(&leader), other);
            group.network.cut(other, id(&leader));
        }
        let parted = Instant::now();
        let next = group.places().into_iter().find_map(|at| group.running(at).filter(|running| id(running) == refused));
        let mut leadership = next.expect("it runs").watches.leadership.clone();
        leadership.wait_for(|now| now.leads).await.expect("it runs");
        assert!(parted.elapsed() < ELECTION_TIMEOUT_MIN * 4, "it took {:?}", parted.elapsed());
    });
}

#[test]
fn a_follower_that_comes_back_stops_a_leader_for_no_election_timeout() {
    simulated(async {
        let group = founded(4).await;
        let (leader, others) = led(&group).await;
        let away = others[0];
        for other in [id(&leader), others[1]] {
            group.network.cut(other, away);
            group.network.cut(away, other);
        }
        assert!(write(&leader).await.expect("it leads").is_ok());
        tokio::time::sleep(ELECTION_TIMEOUT_MIN * 8).await;
        group.network.heal();
        let mut leadership = leader.watches.leadership.clone();
        let term = leadership.borrow_and_update().term;
        leadership.wait_for(|now| !now.leads).await.expect("it runs");
        let deposed = Instant::now();
        let next = leadership.wait_for(|now| now.leads).await.expect("it runs").term;
        assert!(next > term && deposed.elapsed() < ELECTION_TIMEOUT_MIN, "it took {:?}", deposed.elapsed());
    });
}

async fn led_by_another(group: &Group, former: ReplicaId) -> (Running, Vec<ReplicaId>) {
    loop {
        let (leader, others) = led(group).await;
        if id(&leader) != former {
            return (leader, others);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
