//! What the API asks of the group of replicas that keeps the store.

use std::fmt;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::Serialize;

/// The group, as one of its replicas sees it.
pub trait Group: Send + Sync + 'static {
    /// What this replica knows of itself and the others.
    fn status(&self) -> GroupStatus;

    /// The secret with which another replica joins; `None` when this one has no listener for them.
    fn join_token(&self) -> Option<String>;

    /// Changes the group, through whoever leads.
    fn change(&self, change: GroupChange) -> BoxFuture<'static, Result<(), GroupError>>;

    /// A file with everything, from a state that holds every acknowledged write; its secrets are
    /// sealed. Nobody else knows the file: it is gone when it is closed.
    fn backup(&self) -> BoxFuture<'static, Result<tokio::fs::File, GroupError>>;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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
