//! Changes of the group: who is in it, who votes, who leads, which secrets it has.
//!
//! The leader carries them out; any replica takes the order and passes it on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, ServerState};

use crate::RaftStore;
use crate::peers::CallError;
use crate::rpc::{Change, Reply, Request};
use crate::types::{Replica, ReplicaId};

/// A learner becomes a voter while there are fewer.
const VOTERS_MAX: usize = 5;

/// How many entries a learner may be behind when it becomes a voter.
const PROMOTION_LAG_MAX: u64 = 100;

/// Pause before an order is tried again after the leader was lost.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How long one replica may take to pass on a new address, and the pause between rounds.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(2);
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(200);

/// How long an election among reachable replicas takes at most, on a machine that is not slow, and
/// how often that may be doubled.
const ELECTION_WAIT: Duration = Duration::from_millis(40);
const ELECTION_WAIT_DOUBLINGS: u32 = 5;

/// How long a follower may take to catch up before it is handed the leadership.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);

/// Why a change of the group was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChangeError {
    /// Nobody leads; nothing was changed.
    #[error("no leader after {waited_ms} ms")]
    NoLeader {
        /// How long it was tried.
        waited_ms: u64,
    },
    /// It cannot be done; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// The leader was lost meanwhile: look at the status before trying again.
    #[error("outcome of the change is unknown: {0}")]
    Unknown(String),
}

impl RaftStore {
    /// Makes a learner a voter, beyond the number at which that happens by itself.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn promote(&self, id: ReplicaId) -> Result<(), ChangeError> {
        self.change(Change::Promote(id)).await
    }

    /// Takes a replica out of the group for ever. Its id is never used again; to come back it must
    /// join with an empty data directory.
    ///
    /// # Errors
    /// See [`ChangeError`]; the leader must be handed over first.
    pub async fn remove(&self, id: ReplicaId) -> Result<(), ChangeError> {
        self.change(Change::Remove(id)).await
    }

    /// Lets another voter lead.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn hand_over(&self, id: ReplicaId) -> Result<(), ChangeError> {
        self.change(Change::HandOver(id)).await
    }

    /// Makes a new sealing key on every replica, seals with it from now on, and rewrites the
    /// snapshots with it.
    ///
    /// # Errors
    /// See [`ChangeError`]; every replica must be reachable.
    pub async fn rotate_key(&self) -> Result<(), ChangeError> {
        self.change(Change::RotateKey).await
    }

    /// Makes a new join token; the former one lets nobody in any more.
    ///
    /// # Errors
    /// See [`ChangeError`]; replicas that are not reached are named, and get it when they are back.
    pub async fn rotate_join_token(&self) -> Result<(), ChangeError> {
        self.change(Change::RotateSecret).await
    }

    /// Makes a new authority of the replicas, whose certificates all trust before any shows one, and
    /// then drops the former one: who holds the key of that one, or the former join token, is no
    /// replica any more. One that was cut short goes on where it ended.
    ///
    /// # Errors
    /// See [`ChangeError`]; every replica must be reachable. Whatever the error, the group goes on as
    /// before.
    pub async fn rotate_authority(&self) -> Result<(), ChangeError> {
        self.change(Change::RotateAuthority).await
    }

    /// Has the leader carry out a change.
    pub(crate) async fn change(&self, change: Change) -> Result<(), ChangeError> {
        let start = Instant::now();
        let deadline = start + self.timeout();
        while Instant::now() < deadline && self.leader_known(deadline.into()).await {
            let reply = match self.leader() {
                Some((id, _)) if id == self.id() => self.change_here(change.clone()).await,
                Some((_, address)) => {
                    let request = Request::Change(change.clone());
                    match self.call(&address, &request, deadline.saturating_duration_since(Instant::now())).await {
                        Ok(reply) => reply,
                        Err(CallError::NotSent(_)) => Reply::NotLeader(None),
                        Err(CallError::Older(why)) => Reply::Refused(format!("the leader must be upgraded: {why}")),
                        Err(CallError::Lost(why)) => return Err(ChangeError::Unknown(why)),
                    }
                }
                None => Reply::NotLeader(None),
            };
            match reply {
                Reply::Done => return Ok(()),
                Reply::NotLeader(_) => tokio::time::sleep(RETRY_PAUSE).await,
                Reply::Refused(why) => return Err(ChangeError::Refused(why)),
                other => return Err(ChangeError::Unknown(format!("{other:?}"))),
            }
        }
        Err(ChangeError::NoLeader { waited_ms: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX) })
    }

    /// Carries out a change, if this replica leads.
    pub(crate) async fn change_here(&self, change: Change) -> Reply {
        match change {
            Change::Admit { id, address } => {
                let known = self.members().contains_key(&id);
                let node = BTreeMap::from([(id, Replica { address })]);
                let change = if known { ChangeMembers::SetNodes(node) } else { ChangeMembers::AddNodes(node) };
                self.change_members(change).await
            }
            Change::Promote(id) if !self.members().contains_key(&id) => no_replica(id),
            Change::Promote(id) => self.change_members(ChangeMembers::AddVoterIds(BTreeSet::from([id]))).await,
            Change::Remove(id) => self.remove_here(id).await,
            Change::HandOver(id) => self.hand_over_here(id).await,
            Change::RotateKey => self.rotate_key_here().await,
            Change::RotateSecret => self.rotate_secret_here().await,
            Change::RotateAuthority => self.rotate_authority_here().await,
            Change::Replace { id, address } => self.replace_here(id, address).await,
        }
    }

    /// Changes who is in the group. openraft makes one change at a time; another one (a learner
    /// becoming a voter, say) is waited for.
    async fn change_members(&self, change: ChangeMembers<ReplicaId, Replica>) -> Reply {
        let mut metrics = self.raft().metrics();
        let made = async {
            let _alone = self.changing().lock().await;
            loop {
                metrics.mark_unchanged();
                match self.raft().change_membership(change.clone(), false).await {
                    Ok(_) => return Reply::Done,
                    Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                        return Reply::NotLeader(to.leader_id);
                    }
                    Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                        ChangeMembershipError::InProgress(_),
                    ))) => {
                        // One of a leader before: it ends with an entry, so the metrics move.
                        if metrics.changed().await.is_err() {
                            return Reply::Unknown;
                        }
                    }
                    Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => {
                        return Reply::Refused(error.to_string());
                    }
                    Err(RaftError::Fatal(_)) => return Reply::Unknown,
                }
            }
        };
        tokio::time::timeout(self.timeout(), made).await.unwrap_or(Reply::Unknown)
    }

    /// Ends a change that a leader before began and did not finish: until then both the old and the
    /// new voters must agree to everything.
    async fn finish_change(&self) {
        // One that is being made here ends by itself.
        drop(self.changing().lock().await);
        if self.raft().metrics().borrow().membership_config.membership().get_joint_config().len() > 1 {
            let reply = self.change_members(ChangeMembers::AddVoterIds(BTreeSet::new())).await;
            tracing::info!(?reply, "finished the change of the group that another leader began");
        }
    }

    /// A replica that lost its disk came back with a new id at its address.
    async fn replace_here(&self, id: ReplicaId, address: String) -> Reply {
        let former = self.members().into_iter().find(|(other, known)| *other != id && *known == address);
        if let Some((former, _)) = former {
            match self.remove_here(former).await {
                Reply::Done => tracing::warn!(replica = former, by = id, address, "replica lost its disk, is replaced"),
                other => return other,
            }
        }
        Box::pin(self.change_here(Change::Admit { id, address })).await
    }

    async fn remove_here(&self, id: ReplicaId) -> Reply {
        if !self.members().contains_key(&id) {
            return no_replica(id);
        }
        if id == self.id() {
            return Reply::Refused(format!("replica {id} leads: hand over to another one first"));
        }
        let one = BTreeSet::from([id]);
        if self.voters().contains(&id) {
            match self.change_members(ChangeMembers::RemoveVoters(one.clone())).await {
                Reply::Done => {}
                other => return other,
            }
        }
        if !self.members().contains_key(&id) {
            return Reply::Done;
        }
        self.change_members(ChangeMembers::RemoveNodes(one)).await
    }

    /// Hands the leadership over. openraft 0.9 has no such order, and voters refuse a candidate
    /// while the leader's lease runs. A candidate holds no lease itself, and a leader that hears of
    /// one gives up. So the target stands for election, and as many other voters as make a
    /// majority with these two; none is elected yet, but now their votes are free, and the target
    /// stands again. Each step is an ordinary election, so nothing can be lost. Writes and changes of
    /// the group wait meanwhile: whoever had one that the target has not would refuse it its vote.
    async fn hand_over_here(&self, target: ReplicaId) -> Reply {
        let (members, voters) = (self.members(), self.voters());
        let Some(address) = members.get(&target).filter(|_| voters.contains(&target)) else {
            return Reply::Refused(format!("replica {target} is no voter"));
        };
        if target == self.id() {
            return Reply::Done;
        }
        let quiet = async { (self.changing().lock().await, self.proposing().write().await) };
        let Ok(_quiet) = tokio::time::timeout(CATCH_UP_MAX, quiet).await else {
            return Reply::Refused("what is on its way does not end".to_owned());
        };
        let mut metrics = self.raft().metrics();
        let caught_up = metrics.wait_for(|m| {
            let matched = m.replication.as_ref().and_then(|r| r.get(&target).copied().flatten());
            m.state != ServerState::Leader || matched.map(|id| id.index) == m.last_log_index
        });
        match tokio::time::timeout(CATCH_UP_MAX, caught_up).await {
            Ok(Ok(now)) if now.state == ServerState::Leader => {}
            Ok(_) => return Reply::NotLeader(None),
            Err(_) => return Reply::Refused(format!("replica {target} does not catch up")),
        }
        let helpers = (voters.len() / 2 + 1).saturating_sub(2);
        let others = voters.iter().filter(|id| **id != target && **id != self.id()).take(helpers);
        for other in others.filter_map(|id| members.get(id)) {
            // One that does not answer does not help; the target tries all the same.
            drop(self.call(other, &Request::Elect, CATCH_UP_MAX).await);
        }
        let start = Instant::now();
        while start.elapsed() < self.timeout() {
            match self.call(address, &Request::Elect, self.timeout()).await {
                Ok(Reply::Done) => return Reply::Done,
                Ok(_) => {}
                Err(error) => return Reply::Refused(error.to_string()),
            }
            let leader = metrics.borrow_and_update().current_leader;
            if leader.is_some_and(|leader| leader != self.id() && leader != target) {
                return Reply::NotLeader(leader);
            }
            if self.raft().trigger().heartbeat().await.is_err() {
                break;
            }
        }
        Reply::Refused(format!("replica {target} was not elected; the group elects by itself"))
    }

    /// Stands for election, and says whether it was won soon. What is soon doubles with each time in
    /// vain: on a slow machine an election must not be begun anew before it can end.
    pub(crate) async fn stand(&self) -> Reply {
        let mut metrics = self.raft().metrics();
        let leads = metrics.borrow_and_update().state == ServerState::Leader;
        if !leads && self.raft().trigger().elect().await.is_err() {
            return Reply::Refused(self.fault());
        }
        let in_vain = self.stood().fetch_add(1, Ordering::Relaxed).min(ELECTION_WAIT_DOUBLINGS);
        let won = metrics.wait_for(|now| now.state == ServerState::Leader);
        match tokio::time::timeout(ELECTION_WAIT * 2u32.pow(in_vain), won).await {
            Ok(Ok(_)) => {
                self.stood().store(0, Ordering::Relaxed);
                Reply::Done
            }
            Ok(Err(_)) | Err(_) => Reply::NotLeader(None),
        }
    }

    /// Makes learners voters as they catch up, while this replica leads.
    pub(crate) async fn promote_learners(self) {
        let mut metrics = self.raft().metrics();
        while metrics.changed().await.is_ok() {
            let (leads, is_joint) = {
                let now = metrics.borrow_and_update();
                let joint = now.membership_config.membership().get_joint_config().len() > 1;
                (now.state == ServerState::Leader, joint)
            };
            if !leads {
                continue;
            }
            if is_joint {
                self.finish_change().await;
                continue;
            }
            let ready = {
                let now = metrics.borrow();
                let group = now.membership_config.membership();
                let voters: BTreeSet<_> = group.voter_ids().collect();
                let last = now.last_log_index.unwrap_or(0);
                let is_close = |id: &ReplicaId| {
                    let matched = now.replication.as_ref().and_then(|r| r.get(id).copied().flatten());
                    matched.is_some_and(|m| m.index + PROMOTION_LAG_MAX >= last)
                };
                let learner = group.nodes().map(|(id, _)| *id).find(|id| !voters.contains(id) && is_close(id));
                learner.filter(|_| voters.len() < VOTERS_MAX)
            };
            if let Some(id) = ready {
                let reply = self.change_here(Change::Promote(id)).await;
                tracing::info!(replica = id, ?reply, "learner caught up, becomes a voter");
            }
        }
    }

    /// Tells the group when this replica's address is not the one that it knows. It asks every
    /// replica: with a wrong address it hears of no leader.
    pub(crate) async fn announce_address(self, address: String) {
        let id = self.id();
        loop {
            let members = self.members();
            match members.get(&id) {
                Some(known) if *known == address => return,
                // Unknown: just started, or just admitted with the right address.
                _ => {}
            }
            let change = Change::Admit { id, address: address.clone() };
            let is_known = members.contains_key(&id);
            for (_, other) in members.into_iter().filter(|(replica, _)| is_known && *replica != id) {
                let reply = self.call(&other, &Request::Change(change.clone()), ANNOUNCE_TIMEOUT).await;
                if matches!(reply, Ok(Reply::Done)) {
                    tracing::info!(address, "group knows the new address of this replica");
                    return;
                }
            }
            // Last, because one that led before a restart may believe that it still does.
            if is_known && self.change_here(change).await == Reply::Done {
                return;
            }
            tokio::time::sleep(ANNOUNCE_PAUSE).await;
        }
    }
}

fn no_replica(id: ReplicaId) -> Reply {
    Reply::Refused(format!("there is no replica {id}"))
}
