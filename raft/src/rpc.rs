//! What replicas say to each other: closed structs in the record format of [`crate::codec`], whose
//! format byte lets versions one release apart tell each other apart.

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use store::{CommitError, GuardFailure};

use crate::codec::{CodecError, FORMAT_OLDEST};
use crate::pki::Step;
use crate::proposer::Refusal;
use crate::record::{EntryRecord, KeyRecord, LogIdRecord, MembershipRecord, VoteRecord};
use crate::types::{
    ReplicaId, SnapshotMeta, TypeConfig, entry, entry_record, log_id, log_id_record, membership, membership_record,
    vote, vote_record,
};

/// The one message of the service: a record.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Frame {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) body: bytes::Bytes,
}

/// A question to a replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Request {
    Append {
        vote: VoteRecord,
        previous: Option<LogIdRecord>,
        entries: Vec<EntryRecord>,
        committed: Option<LogIdRecord>,
    },
    Vote {
        vote: VoteRecord,
        last: Option<LogIdRecord>,
    },
    /// Commit this encoded transaction; only the leader does.
    Commit(ByteBuf),
    /// Confirm the leadership and say what must be applied before a read; only the leader does.
    ReadIndex,
    /// Stand for election now.
    Elect,
    /// Change the group; only the leader does.
    Change(Change),
    /// Add these sealing keys, and seal with `active` from now on.
    Keys {
        keys: Vec<(u32, [u8; 32])>,
        active: u32,
    },
    /// Let a new replica in: the only question that needs no certificate, but the join secret.
    Join {
        secret: ByteBuf,
    },
    /// How the caller does, as JSON of [`crate::Vitals`]; and how does the other? Since format 2.
    Vitals(ByteBuf),
    /// Is there a group? Since format 2.
    Presence,
    /// The join secret of this generation. Since format 2.
    Secret {
        generation: u64,
        secret: [u8; 32],
    },
    /// Something that control planes ask each other, as JSON. Since format 2.
    Question(ByteBuf),
    /// Take this step of the replacement of the authority, which the leader of `term` orders. Since
    /// format 3.
    Authority {
        term: u64,
        step: Step,
    },
}

/// A change of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// Adds a learner, or moves a replica to another address.
    Admit { id: ReplicaId, address: String },
    /// Makes a learner a voter.
    Promote(ReplicaId),
    /// Takes a replica out for ever.
    Remove(ReplicaId),
    /// Lets another voter lead.
    HandOver(ReplicaId),
    /// Makes a new sealing key.
    RotateKey,
    /// Makes a new join secret. Since format 2.
    RotateSecret,
    /// Adds a learner, and first takes out another replica that has its address. Since format 2.
    Replace { id: ReplicaId, address: String },
    /// Replaces the authority of the replicas. Since format 3.
    RotateAuthority,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reply {
    Append(AppendReply),
    Vote {
        vote: VoteRecord,
        granted: bool,
        last: Option<LogIdRecord>,
    },
    Installed {
        vote: VoteRecord,
    },
    /// Committed at this revision.
    Committed(u64),
    Guard(GuardFailureRecord),
    ReadIndex(Option<u64>),
    Done,
    NotLeader(Option<ReplicaId>),
    /// The leader cannot tell whether it was committed.
    Unknown,
    /// Nothing was done.
    Refused(String),
    Joined(Welcome),
    /// JSON of [`crate::Vitals`]. Since format 2.
    Vitals(ByteBuf),
    /// Since format 2.
    Presence(Presence),
    /// To a question, as JSON. Since format 2.
    Answer(ByteBuf),
}

/// Whether a replica is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Presence {
    /// It has an empty directory, and waits for the others to found one together.
    Waiting,
    /// It joins one.
    Joining,
    /// It is in one.
    Member,
}

/// What a new replica is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The cluster's authority and its key, and the join secret.
    pub(crate) pki: String,
    pub(crate) keys: Vec<(u32, [u8; 32])>,
    pub(crate) active: u32,
    /// Where the replicas are reached; one of them leads.
    pub(crate) addresses: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AppendReply {
    Success,
    Partial(Option<LogIdRecord>),
    Conflict,
    HigherVote(VoteRecord),
}

/// What stands before the chunks of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotHead {
    pub(crate) vote: VoteRecord,
    last: Option<LogIdRecord>,
    membership: MembershipRecord,
    id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GuardFailureRecord {
    Exists(KeyRecord),
    Missing(KeyRecord),
    Version(KeyRecord, u64, u64),
    Term(u64, u64),
    NoTarget(KeyRecord),
}

impl GuardFailureRecord {
    pub(crate) fn of(failure: &GuardFailure) -> Self {
        match failure {
            GuardFailure::Exists(key) => Self::Exists(KeyRecord::of(key)),
            GuardFailure::Missing(key) => Self::Missing(KeyRecord::of(key)),
            GuardFailure::Version { key, expected, found } => Self::Version(KeyRecord::of(key), *expected, *found),
            GuardFailure::Term { expected, found } => Self::Term(*expected, *found),
            GuardFailure::NoTarget(key) => Self::NoTarget(KeyRecord::of(key)),
        }
    }

    pub(crate) fn failure(&self) -> Result<GuardFailure, CodecError> {
        Ok(match self {
            Self::Exists(key) => GuardFailure::Exists(key.key()?),
            Self::Missing(key) => GuardFailure::Missing(key.key()?),
            Self::Version(key, expected, found) => {
                GuardFailure::Version { key: key.key()?, expected: *expected, found: *found }
            }
            Self::Term(expected, found) => GuardFailure::Term { expected: *expected, found: *found },
            Self::NoTarget(key) => GuardFailure::NoTarget(key.key()?),
        })
    }
}

impl Request {
    /// The oldest format that can express it.
    pub(crate) fn format(&self) -> u8 {
        match self {
            Self::Authority { .. } | Self::Change(Change::RotateAuthority) => 3,
            Self::Vitals(_)
            | Self::Presence
            | Self::Question(_)
            | Self::Secret { .. }
            | Self::Change(Change::RotateSecret | Change::Replace { .. }) => 2,
            Self::Append { .. }
            | Self::Vote { .. }
            | Self::Commit(_)
            | Self::ReadIndex
            | Self::Elect
            | Self::Change(_)
            | Self::Keys { .. }
            | Self::Join { .. } => FORMAT_OLDEST,
        }
    }

    pub(crate) fn append(rpc: &AppendEntriesRequest<TypeConfig>) -> Self {
        Self::Append {
            vote: vote_record(&rpc.vote),
            previous: rpc.prev_log_id.as_ref().map(log_id_record),
            entries: rpc.entries.iter().map(entry_record).collect(),
            committed: rpc.leader_commit.as_ref().map(log_id_record),
        }
    }

    pub(crate) fn vote(rpc: &VoteRequest<ReplicaId>) -> Self {
        Self::Vote { vote: vote_record(&rpc.vote), last: rpc.last_log_id.as_ref().map(log_id_record) }
    }
}

/// openraft's request again.
pub(crate) fn append_request(
    of: VoteRecord,
    previous: Option<LogIdRecord>,
    entries: Vec<EntryRecord>,
    committed: Option<LogIdRecord>,
) -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: vote(of),
        prev_log_id: previous.map(log_id),
        entries: entries.into_iter().map(entry).collect(),
        leader_commit: committed.map(log_id),
    }
}

impl AppendReply {
    pub(crate) fn of(response: &AppendEntriesResponse<ReplicaId>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::Success,
            AppendEntriesResponse::PartialSuccess(upto) => Self::Partial(upto.as_ref().map(log_id_record)),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote(vote_record(vote)),
        }
    }

    pub(crate) fn response(self) -> AppendEntriesResponse<ReplicaId> {
        match self {
            Self::Success => AppendEntriesResponse::Success,
            Self::Partial(upto) => AppendEntriesResponse::PartialSuccess(upto.map(log_id)),
            Self::Conflict => AppendEntriesResponse::Conflict,
            Self::HigherVote(higher) => AppendEntriesResponse::HigherVote(vote(higher)),
        }
    }
}

impl Reply {
    /// The oldest format that can express it.
    pub(crate) fn format(&self) -> u8 {
        if matches!(self, Self::Vitals(_) | Self::Presence(_) | Self::Answer(_)) { 2 } else { FORMAT_OLDEST }
    }

    pub(crate) fn vote(response: &VoteResponse<ReplicaId>) -> Self {
        Self::Vote {
            vote: vote_record(&response.vote),
            granted: response.vote_granted,
            last: response.last_log_id.as_ref().map(log_id_record),
        }
    }

    pub(crate) fn refusal(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotLeader(leader) => Self::NotLeader(leader),
            // A replica that stops may have sent the entry to others before.
            Refusal::Unknown | Refusal::Stopped(_) => Self::Unknown,
            Refusal::TooLarge(why) => Self::Refused(why),
        }
    }

    /// What a forwarded write that was answered so means to its writer.
    pub(crate) fn commit_error(self) -> CommitError {
        match self {
            Self::Guard(failure) => match failure.failure() {
                Ok(failure) => CommitError::Guard(failure),
                Err(error) => CommitError::Refused(error.to_string()),
            },
            Self::Refused(why) => CommitError::Refused(why),
            _ => CommitError::Unknown,
        }
    }
}

impl SnapshotHead {
    pub(crate) fn new(vote: VoteRecord, meta: &SnapshotMeta) -> Self {
        Self {
            vote,
            last: meta.last_log_id.as_ref().map(log_id_record),
            membership: membership_record(&meta.last_membership),
            id: meta.snapshot_id.clone(),
        }
    }

    pub(crate) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.last.map(log_id),
            last_membership: membership(&self.membership),
            snapshot_id: self.id.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_at_a_leader_that_stops_has_no_known_outcome() {
        let told = |refusal| Reply::refusal(refusal).commit_error();
        assert!(matches!(told(Refusal::Stopped("its disk failed".to_owned())), CommitError::Unknown));
        assert!(matches!(told(Refusal::TooLarge("9 MiB".to_owned())), CommitError::Refused(_)));
    }
}
