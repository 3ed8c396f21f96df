//! The types that openraft is instantiated with, and their records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use model::Timestamp;
use openraft::{
    CommittedLeaderId, EntryPayload, LogId as OpenLogId, Membership as OpenMembership, StoredMembership, TokioRuntime,
    Vote as OpenVote,
};
use serde::{Deserialize, Serialize};
use store::{ChangeBatch, GuardFailure, Txn};

use crate::codec::{self, CodecError};
use crate::record::{self, CommandRecord, EntryRecord, LogIdRecord, MembershipRecord, PayloadRecord, VoteRecord};
use crate::seal::Keyring;
use crate::snapshot::SnapshotFile;

/// Identity of a replica: random, made with its data directory, never used twice.
pub type ReplicaId = u64;

openraft::declare_raft_types!(
    /// How this crate uses openraft.
    pub(crate) TypeConfig:
        D = Command,
        R = Response,
        NodeId = ReplicaId,
        Node = Replica,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotFile,
        AsyncRuntime = TokioRuntime,
);

pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = OpenLogId<ReplicaId>;
pub(crate) type Vote = OpenVote<ReplicaId>;
pub(crate) type Membership = StoredMembership<ReplicaId, Replica>;
pub(crate) type StorageError = openraft::StorageError<ReplicaId>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<ReplicaId, Replica>;
pub(crate) type Raft = openraft::Raft<TypeConfig>;

/// Where a replica is reached by the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// `host:port` of its replica listener; empty for a group of one that has none.
    pub address: String,
}

/// One log entry's worth of transactions: the encoded form that is stored and replicated, and, on
/// the replica that proposed it, the typed transactions, so that it need not decode its own words.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Command {
    bytes: Bytes,
    #[serde(skip)]
    typed: Option<Arc<TypedCommand>>,
}

/// A decoded command.
pub(crate) struct TypedCommand {
    pub(crate) at: Timestamp,
    pub(crate) txns: Vec<Arc<Txn>>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "command of {} bytes", self.bytes.len())
    }
}

impl Command {
    /// Transactions that were encoded by [`record::encode_txn`], proposed at `at`. Those that came typed
    /// may be given along.
    pub(crate) fn commit(at: Timestamp, txns: Vec<Bytes>, typed: Option<Vec<Arc<Txn>>>) -> Result<Self, CodecError> {
        let bytes = codec::encode(&CommandRecord::Commit { at: at.into(), txns })?;
        let typed = typed.map(|txns| Arc::new(TypedCommand { at, txns }));
        Ok(Self { bytes: bytes.into(), typed })
    }

    /// The transactions with the time of their proposal.
    /// `reads` is the newest format that this replica takes.
    pub(crate) fn decode(&self, keys: &Keyring, reads: u8) -> Result<Arc<TypedCommand>, CodecError> {
        if let Some(typed) = &self.typed {
            return Ok(Arc::clone(typed));
        }
        let CommandRecord::Commit { at, txns } = codec::decode(&self.bytes)?;
        let txns =
            txns.iter().map(|txn| record::decode_txn(txn, keys, reads).map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Arc::new(TypedCommand { at: at.timestamp()?, txns }))
    }

    /// Size of the encoded form.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Encodes one transaction, its secrets sealed, so that every build reads it.
#[cfg(test)]
pub(crate) fn encode_txn(txn: &Txn, keys: &Keyring) -> Result<Bytes, CodecError> {
    Ok(record::encode_txn(txn, keys, codec::FORMAT_OLDEST)?.into())
}

/// What became of one transaction of an entry.
pub(crate) type Outcome = Result<Arc<ChangeBatch>, GuardFailure>;

/// What applying an entry gave: one outcome a transaction. It never leaves the process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Response {
    #[serde(skip)]
    pub(crate) outcomes: Vec<Outcome>,
}

pub(crate) fn log_id_record(id: &LogId) -> LogIdRecord {
    LogIdRecord { term: id.leader_id.term, replica: id.leader_id.node_id, index: id.index }
}

pub(crate) fn log_id(record: LogIdRecord) -> LogId {
    LogId::new(CommittedLeaderId::new(record.term, record.replica), record.index)
}

pub(crate) fn vote_record(vote: &Vote) -> VoteRecord {
    VoteRecord { term: vote.leader_id.term, replica: vote.leader_id.node_id, committed: vote.committed }
}

pub(crate) fn vote(record: VoteRecord) -> Vote {
    let mut vote = Vote::new(record.term, record.replica);
    vote.committed = record.committed;
    vote
}

fn members_record(log_id: Option<LogIdRecord>, members: &OpenMembership<ReplicaId, Replica>) -> MembershipRecord {
    MembershipRecord {
        log_id,
        voters: members.get_joint_config().iter().map(|set| set.iter().copied().collect()).collect(),
        replicas: members.nodes().map(|(id, replica)| (*id, replica.address.clone())).collect(),
    }
}

fn members(record: &MembershipRecord) -> OpenMembership<ReplicaId, Replica> {
    let voters = record.voters.iter().map(|set| set.iter().copied().collect::<BTreeSet<_>>()).collect();
    let replicas: BTreeMap<_, _> =
        record.replicas.iter().map(|(id, address)| (*id, Replica { address: address.clone() })).collect();
    OpenMembership::new(voters, replicas)
}

pub(crate) fn membership_record(membership: &Membership) -> MembershipRecord {
    members_record(membership.log_id().as_ref().map(log_id_record), membership.membership())
}

pub(crate) fn membership(record: &MembershipRecord) -> Membership {
    Membership::new(record.log_id.map(log_id), members(record))
}

pub(crate) fn entry_record(entry: &Entry) -> EntryRecord {
    EntryRecord {
        log_id: log_id_record(&entry.log_id),
        payload: match &entry.payload {
            EntryPayload::Blank => PayloadRecord::Blank,
            EntryPayload::Normal(command) => PayloadRecord::Command(command.bytes.clone()),
            EntryPayload::Membership(m) => PayloadRecord::Membership(members_record(None, m)),
        },
    }
}

pub(crate) fn entry(record: EntryRecord) -> Entry {
    Entry {
        log_id: log_id(record.log_id),
        payload: match record.payload {
            PayloadRecord::Blank => EntryPayload::Blank,
            PayloadRecord::Command(bytes) => EntryPayload::Normal(Command { bytes, typed: None }),
            PayloadRecord::Membership(m) => EntryPayload::Membership(members(&m)),
        },
    }
}
