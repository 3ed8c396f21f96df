//! What the API asks of the group of replicas that keeps the store.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::propagation::{Asked, Told};

/// The group, as one of its replicas sees it.
pub trait Group: Send + Sync + 'static {
    /// What this replica knows of itself and the others.
    fn status(&self) -> GroupStatus;

    /// The secret with which another replica joins; `None` when this one has no listener for them.
    fn join_token(&self) -> Option<String>;

    /// Changes the group, through whoever leads.
    fn change(&self, change: GroupChange) -> BoxFuture<'static, Result<(), GroupError>>;

    /// How every replica does, the others asked now.
    fn vitals(&self) -> BoxFuture<'static, Vec<ReplicaVitals>>;

    /// Asks the other replicas who of their proxies has what, each for `patience` at most. Each answer
    /// comes by itself.
    fn ask(&self, asked: Asked, patience: Duration) -> Vec<BoxFuture<'static, OtherTold>>;

    /// Makes the resources what they are in a backup, in one transaction.
    fn restore(&self, backup: Bytes, author: String) -> BoxFuture<'static, Result<Restored, GroupError>>;

    /// A file with everything, from a state that holds every acknowledged write; its secrets are
    /// sealed. Nobody else knows the file: it is gone when it is closed.
    fn backup(&self) -> BoxFuture<'static, Result<tokio::fs::File, GroupError>>;
}

/// What another replica told of its proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherTold {
    /// Its identity.
    pub id: u64,
    /// Where it is reached.
    pub address: String,
    /// What it told; or why it did not.
    pub told: Result<Told, String>,
}

/// A change of the group; replicas are named by their id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupChange {
    /// A replica that only follows gets a vote.
    Promote(u64),
    /// A replica leaves for ever.
    Remove(u64),
    /// A voter leads from now on.
    HandOver(u64),
    /// Secrets are sealed with a new key.
    RotateKey,
    /// Replicas join with a new token.
    RotateJoinToken,
    /// Replicas know each other by a new authority, and join with a token of it.
    RotateAuthority,
}

/// Answer to `POST /raft/restore`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The revision of the transaction; the current one when nothing differed.
    pub revision: u64,
    /// Resources that are back.
    pub created: usize,
    /// Resources that are as they were.
    pub updated: usize,
    /// Resources that are gone.
    pub deleted: usize,
}

/// How one replica does: an item of `GET /raft/vitals`. All but its identity is absent when it does
/// not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaVitals {
    /// Its identity.
    pub id: u64,
    /// Where the others reach it.
    pub address: String,
    /// `leader`, `voter` or `learner`.
    pub role: &'static str,
    /// Why it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
    /// What it answered.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub answer: Option<VitalsAnswer>,
}

/// What a replica tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VitalsAnswer {
    /// Its version.
    pub version: String,
    /// The term that it knows.
    pub term: u64,
    /// The revision of its state.
    pub revision: u64,
    /// Index of the last log entry that it has applied.
    pub applied_index: u64,
    /// How long writes take from proposal to application; only the leader measures it.
    pub commit: Latency,
    /// How long its disk takes to sync the log.
    pub fsync: Latency,
    /// Proxies that are connected to it; absent when it serves none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxies: Option<u64>,
    /// From the commit of a change to the answer of a proxy of it.
    pub propagation: Latency,
    /// Whether it trusts two authorities of replicas: a replacement was begun and has not ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_between_authorities: bool,
}

/// Why the group did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// It cannot be done; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// Nobody leads or answers; try again.
    #[error("{0}")]
    Unavailable(String),
    /// This replica failed.
    #[error("{0}")]
    Failed(String),
}

/// Answer to `GET /raft`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// The replica that answers.
    pub id: u64,
    /// `leader`, `voter`, `candidate`, `learner` or `stopped`.
    pub role: &'static str,
    /// The term that it knows.
    pub term: u64,
    /// Who leads, as far as it knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<u64>,
    /// The revision that it has applied.
    pub revision: u64,
    /// Index of the last log entry that it has applied.
    pub applied_index: u64,
    /// Index of the last entry in its log.
    pub last_log_index: u64,
    /// Index of the last entry in its snapshot.
    pub snapshot_index: u64,
    /// How long writes take on it from proposal to application; only the leader measures it.
    pub commit: Latency,
    /// How long its disk takes to sync the log.
    pub fsync: Latency,
    /// All replicas, ordered by id.
    pub replicas: Vec<ReplicaStatus>,
}

/// One replica of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// Its identity.
    pub id: u64,
    /// Where the others reach it; empty without a listener.
    pub address: String,
    /// `leader`, `voter` or `learner`.
    pub role: &'static str,
    /// Index of the last log entry that it has; only the leader knows it of the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicated_index: Option<u64>,
}

/// Percentiles over the latest samples, in microseconds; zero without samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Half of the samples are at most this.
    pub p50_us: u64,
    /// 99 of 100 samples are at most this.
    pub p99_us: u64,
}

impl Latency {
    /// From durations.
    pub fn new(p50: Duration, p99: Duration) -> Self {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self { p50_us: micros(p50), p99_us: micros(p99) }
    }
}

impl fmt::Debug for dyn Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Group")
    }
}
