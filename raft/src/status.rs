//! What a replica tells of itself and of its group.

use openraft::ServerState;

use crate::latency::Percentiles;
use crate::leadership::Contact;
use crate::types::{Raft, ReplicaId};

/// What a replica is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It orders the writes.
    Leader,
    /// It votes. So does one that was elected, but that no majority answers.
    Voter,
    /// It asks for votes.
    Candidate,
    /// It only follows.
    Learner,
    /// It has stopped.
    Stopped,
}

/// One replica of the group, as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its identity.
    pub id: ReplicaId,
    /// Where it is reached; empty when it has no replica listener.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
    /// The last log entry that it is known to have; known to the leader only.
    pub replicated: Option<u64>,
}

/// The state of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its identity.
    pub id: ReplicaId,
    /// What it is.
    pub role: Role,
    /// The term that it knows.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<ReplicaId>,
    /// All replicas, ordered by id.
    pub members: Vec<Member>,
    /// Index of its last log entry.
    pub last_log_index: u64,
    /// Index of the last entry that it has applied.
    pub applied_index: u64,
    /// Index of the last entry in its snapshot.
    pub snapshot_index: u64,
    /// The revision of its state.
    pub revision: store::Revision,
    /// How long entries take from proposal to application, on the leader.
    pub commit: Percentiles,
    /// How long its disk takes to sync the log.
    pub fsync: Percentiles,
}

/// Reads openraft's metrics.
pub(crate) fn of(
    raft: &Raft,
    contact: &Contact,
    revision: store::Revision,
    commit: Percentiles,
    fsync: Percentiles,
) -> Status {
    let metrics = raft.metrics().borrow().clone();
    let group = metrics.membership_config.membership().clone();
    let members = group
        .nodes()
        .map(|(id, replica)| Member {
            id: *id,
            address: replica.address.clone(),
            voter: group.voter_ids().any(|voter| voter == *id),
            replicated: metrics.replication.as_ref().and_then(|r| r.get(id)).and_then(|log_id| log_id.map(|l| l.index)),
        })
        .collect();
    let role = match metrics.state {
        _ if metrics.running_state.is_err() => Role::Stopped,
        ServerState::Leader if contact.is_cut_off => Role::Voter,
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Voter,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    };
    Status {
        id: metrics.id,
        role,
        term: metrics.current_term,
        leader: metrics.current_leader.filter(|leader| *leader != metrics.id || !contact.is_cut_off),
        members,
        last_log_index: metrics.last_log_index.unwrap_or(0),
        applied_index: metrics.last_applied.map_or(0, |id| id.index),
        snapshot_index: metrics.snapshot.map_or(0, |id| id.index),
        revision,
        commit,
        fsync,
    }
}
