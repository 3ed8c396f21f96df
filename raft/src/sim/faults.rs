//! What fails, and how it comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::group::Group;
use super::machine::Condition;
use super::members::Order;
use crate::types::ReplicaId;

/// One fault, or the end of one.
pub(crate) async fn fail(group: &Group, rng: &mut StdRng) {
    let (places, ids) = (group.places(), group.ids());
    let at = places[rng.random_range(0..places.len())];
    let one: ReplicaId = ids[rng.random_range(0..ids.len())];
    let other: ReplicaId = ids[rng.random_range(0..ids.len())];
    match rng.random_range(0..26) {
        0..=2 => group.kill(at, rng).await,
        3 => group.start_all(rng).await,
        // One way.
        4 | 5 => group.network.cut(one, other),
        6 => {
            for peer in ids {
                group.network.cut(one, peer);
                group.network.cut(peer, one);
            }
        }
        7 => group.network.lose(rng.random_range(0..40)),
        // Everything at once.
        8 => {
            for at in group.places() {
                group.kill(at, rng).await;
            }
            group.start_all(rng).await;
        }
        9 | 10 => group.network.pause(one),
        11 => group.network.resume(one),
        12 => group.at(at).disk.slow(rng.random()),
        13 => group.at(at).disk.fill(true),
        14 => corrupt(group, at, rng).await,
        15 => change(group, rng),
        16 => group.at(at).clock.store(rng.random_range(-100_000_000..100_000_000), Ordering::Relaxed),
        // As if all had been asleep.
        17 => tokio::time::advance(Duration::from_millis(rng.random_range(100..5000))).await,
        _ => {
            group.network.heal();
            group.start_all(rng).await;
        }
    }
}

/// Damages what is on a disk while the power is off. The machine must refuse it; it is replaced.
async fn corrupt(group: &Group, at: usize, rng: &mut StdRng) {
    let Ok(change) = Arc::clone(&group.change).try_lock_owned() else { return };
    // Before its first write the group may be in the founder's log only.
    if group.oracle().acknowledged() == 0 {
        return;
    }
    group.kill(at, rng).await;
    group.at(at).disk.fill(false);
    let is_damaged = {
        let machine = group.at(at);
        // It is off, unless it was being started when it was killed.
        machine.condition == Condition::Good
            && if rng.random() { machine.corrupt_snapshot(rng) } else { machine.disk.corrupt(rng) }
    };
    if !is_damaged {
        return;
    }
    match group.start(at, rng.random()).await {
        Err(error) if error.contains("corrupted") || error.contains("newer version") => {}
        refused => group.oracle().violated(format!("machine {at} has a damaged disk and says {refused:?}")),
    }
    group.at(at).condition = Condition::Broken;
    order(group, Order::Replace(at), change, rng);
}

/// Somebody joins or leaves.
fn change(group: &Group, rng: &mut StdRng) {
    let Ok(change) = Arc::clone(&group.change).try_lock_owned() else { return };
    if let Some(what) = Order::draw(group, rng) {
        order(group, what, change, rng);
    }
}

/// Faults go on while the group changes.
fn order(group: &Group, order: Order, change: tokio::sync::OwnedMutexGuard<()>, rng: &mut StdRng) {
    let (group, mut rng) = (group.clone(), StdRng::seed_from_u64(rng.random()));
    tokio::spawn(async move {
        group.carry_out(order, &mut rng).await;
        drop(change);
    });
}
