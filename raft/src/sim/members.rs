//! Changes of the group: machines join, leave, and are replaced when their disk is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::group::{FOUNDERS, Group, PLACES};
use super::machine::{Condition, TIMEOUT};
use crate::types::{Replica, ReplicaId};

/// Pause before an order is given again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A change that is carried out, however often it must be tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// A new machine comes into this place.
    Join(usize),
    /// The machine in this place goes for ever.
    Leave(usize),
    /// The machine in this place has lost its disk; a new one takes its place.
    Replace(usize),
}

impl Order {
    /// One that the group can take: it keeps enough voters to lose one of them.
    pub(crate) fn draw(group: &Group, rng: &mut StdRng) -> Option<Self> {
        let places = group.places();
        if rng.random::<bool>() && places.len() > FOUNDERS {
            return Some(Self::Leave(places[rng.random_range(0..places.len())]));
        }
        let free: Vec<_> = (0..PLACES).filter(|at| !places.contains(at)).collect();
        (!free.is_empty()).then(|| Self::Join(free[rng.random_range(0..free.len())]))
    }
}

impl Group {
    /// Carries out an order. Whoever calls holds [`Group::change`].
    pub(crate) async fn carry_out(&self, order: Order, rng: &mut StdRng) {
        match order {
            Order::Join(at) => self.join(at, rng).await,
            Order::Leave(at) => self.leave(at, rng).await,
            Order::Replace(at) => {
                self.leave(at, rng).await;
                self.join(at, rng).await;
            }
        }
    }

    async fn join(&self, at: usize, rng: &mut StdRng) {
        let id = self.renew(at);
        if let Err(error) = self.start(at, rng.random()).await {
            self.oracle().violated(format!("new machine {at} does not start: {error}"));
        }
        self.order(ChangeMembers::AddNodes(BTreeMap::from([(id, Replica::default())])), None).await;
        self.order(ChangeMembers::AddVoterIds(BTreeSet::from([id])), None).await;
    }

    async fn leave(&self, at: usize, rng: &mut StdRng) {
        let id = self.at(at).id;
        let one = BTreeSet::from([id]);
        self.order(ChangeMembers::RemoveVoters(one.clone()), Some((at, id))).await;
        self.order(ChangeMembers::RemoveNodes(one), Some((at, id))).await;
        self.switch_off(at, rng).await;
        self.at(at).condition = Condition::Absent;
    }

    /// Ends a machine for ever.
    async fn switch_off(&self, at: usize, rng: &mut StdRng) {
        while self.at(at).condition == Condition::Starting {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        self.kill(at, rng).await;
        self.at(at).condition = Condition::Broken;
    }

    /// Has the leader change the group, until one says that it did. The one that goes is not asked: a
    /// leader cannot be removed, so it is switched off when it leads.
    async fn order(&self, change: ChangeMembers<ReplicaId, Replica>, goes: Option<(usize, ReplicaId)>) {
        loop {
            match (self.leader(), goes) {
                (Some((leader, _)), Some((at, id))) if leader == id => {
                    self.switch_off(at, &mut StdRng::seed_from_u64(id)).await;
                }
                (Some((_, raft)), _) => {
                    let changed = raft.change_membership(change.clone(), false);
                    match tokio::time::timeout(TIMEOUT, changed).await {
                        Ok(Ok(_)) => return,
                        failed => self.note_order(format!("{change:?}: {failed:?}")),
                    }
                }
                (None, _) => {}
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}
