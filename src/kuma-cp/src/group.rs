//! The group of replicas, as the API asks for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actors::ControlPlane;
use api::group::{
    Group, GroupChange, GroupError, GroupStatus, Latency, OtherTold, ReplicaStatus, ReplicaVitals, Restored,
    VitalsAnswer,
};
use api::propagation::{Asked, Told};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use model::{Key, registry};
use raft::{BackupError, ChangeError, OpenError, Percentiles, Pulse, RaftStore, RestoreError, Role, Said, Status};
use serde::Deserialize;
use store::{CommitError, State};

use crate::note::Note;

/// How long a leader that is told to stop looks for another one.
const HAND_OVER_MAX: Duration = Duration::from_secs(3);

/// This replica, and where it may leave a file for a moment.
pub(crate) struct RaftGroup {
    pub(crate) replica: RaftStore,
    pub(crate) data_dir: PathBuf,
}

impl RaftGroup {
    /// A file that nobody else has.
    fn file(&self, what: &str) -> PathBuf {
        self.data_dir.join(format!("{what}-{}", uuid::Uuid::new_v4().simple()))
    }
}

impl Group for RaftGroup {
    fn status(&self) -> GroupStatus {
        shown(&self.replica.status())
    }

    fn join_token(&self) -> Option<String> {
        self.replica.join_token()
    }

    fn change(&self, change: GroupChange) -> BoxFuture<'static, Result<(), GroupError>> {
        let replica = self.replica.clone();
        Box::pin(async move {
            let made = match change {
                GroupChange::Promote(id) => replica.promote(id).await,
                GroupChange::Remove(id) => replica.remove(id).await,
                GroupChange::HandOver(id) => replica.hand_over(id).await,
                GroupChange::RotateKey => replica.rotate_key().await,
                GroupChange::RotateJoinToken => replica.rotate_join_token().await,
                GroupChange::RotateAuthority => replica.rotate_authority().await,
            };
            made.map_err(|error| match error {
                ChangeError::Refused(why) => GroupError::Refused(why),
                ChangeError::NoLeader { .. } | ChangeError::Unknown(_) => GroupError::Unavailable(error.to_string()),
            })
        })
    }

    fn vitals(&self) -> BoxFuture<'static, Vec<ReplicaVitals>> {
        let replica = self.replica.clone();
        Box::pin(async move {
            let status = shown(&replica.status());
            replica.pulses().await.into_iter().map(|pulse| vitals(pulse, &status)).collect()
        })
    }

    fn ask(&self, asked: Asked, patience: Duration) -> Vec<BoxFuture<'static, OtherTold>> {
        let question = match serde_json::to_value(asked) {
            Ok(question) => question,
            Err(error) => {
                tracing::error!(%error, "the other replicas are not asked for their proxies");
                serde_json::Value::Null
            }
        };
        let others = self.replica.ask_others(&question, patience);
        others.into_iter().map(|said| said.map(other_told).boxed()).collect()
    }

    fn restore(&self, backup: Bytes, author: String) -> BoxFuture<'static, Result<Restored, GroupError>> {
        let (replica, path) = (self.replica.clone(), self.file("restore"));
        Box::pin(async move {
            let failed = |error: std::io::Error| GroupError::Failed(error.to_string());
            tokio::fs::write(&path, &backup).await.map_err(failed)?;
            let restored = replica.restore_online(&path, stays, &author).await;
            tokio::fs::remove_file(&path).await.map_err(failed)?;
            let raft::Restored { revision, created, updated, deleted } =
                restored.map_err(|error| not_restored(error, &path))?;
            Ok(Restored { revision: revision.0, created, updated, deleted })
        })
    }

    fn backup(&self) -> BoxFuture<'static, Result<tokio::fs::File, GroupError>> {
        let (replica, path) = (self.replica.clone(), self.file("backup"));
        Box::pin(async move {
            taken(&replica, path).await.map_err(|error| match error {
                BackupError::Unconfirmed(why) => GroupError::Unavailable(why.to_string()),
                BackupError::Unwritten(why) => GroupError::Failed(why.to_string()),
            })
        })
    }
}

/// Answers the questions of other replicas for this control plane.
pub(crate) fn respond(replica: &RaftStore, proxies: &ControlPlane) {
    let (store, proxies) = (replica.clone(), proxies.clone());
    replica.respond(Arc::new(move |question| {
        let (store, proxies) = (store.clone(), proxies.clone());
        Box::pin(async move {
            let told = match Asked::deserialize(&question) {
                Ok(asked) => serde_json::to_value(asked.answer(&proxies, &store).await),
                Err(error) => Err(error),
            };
            told.unwrap_or_else(|error| {
                tracing::warn!(%error, "a question of another replica cannot be answered");
                serde_json::Value::Null
            })
        })
    }));
}

/// Has another voter lead before this replica stops, so that no write waits for an election.
pub(crate) async fn hand_over(replica: &RaftStore) {
    let status = replica.status();
    if status.role != Role::Leader {
        return;
    }
    let mut others: Vec<_> = status.members.iter().filter(|member| member.voter && member.id != status.id).collect();
    others.sort_by_key(|member| std::cmp::Reverse(member.replicated));
    let try_all = async {
        for other in others {
            match replica.hand_over(other.id).await {
                Ok(()) => return tracing::info!(to = other.id, "handed over the leadership"),
                Err(error) => tracing::warn!(to = other.id, %error, "could not hand over the leadership"),
            }
        }
    };
    if tokio::time::timeout(HAND_OVER_MAX, try_all).await.is_err() {
        tracing::warn!("nobody took the leadership in time, the others elect one");
    }
}

fn other_told(said: Said) -> OtherTold {
    let told = said.answer.and_then(|answer| Told::deserialize(&answer).map_err(|e| e.to_string()));
    OtherTold { id: said.id, address: said.address, told }
}

/// A backup in a file without a name.
async fn taken(replica: &RaftStore, path: PathBuf) -> Result<tokio::fs::File, BackupError> {
    replica.backup(&path).await?;
    let file = tokio::fs::File::open(&path).await?;
    tokio::fs::remove_file(&path).await?;
    Ok(file)
}

/// What describes running proxies is theirs: a restore under way does not go back to former ones,
/// unless their mesh is gone.
fn stays(key: &Key, backup: &State) -> bool {
    let is_of_proxies = key.kind == registry::DATAPLANE || key.kind.name.ends_with("Insight");
    is_of_proxies && (key.mesh.is_empty() || backup.get(&Key::global(registry::MESH, &key.mesh)).is_some())
}

fn not_restored(error: RestoreError, file: &Path) -> GroupError {
    match error {
        RestoreError::Unreadable(why) => {
            let why = match why {
                OpenError::Corrupted { detail, .. }
                | OpenError::Newer { detail, .. }
                | OpenError::KeyLost { detail, .. } => detail,
                other => other.to_string(),
            };
            // The file of a moment says nothing to the client.
            GroupError::Refused(why.replace(&*file.display().to_string(), "the backup"))
        }
        RestoreError::Uncommitted(CommitError::Refused(why)) => GroupError::Refused(format!(
            "what differs is too much for one transaction ({why}): restore it offline with `kuma-cp restore`"
        )),
        RestoreError::Uncommitted(CommitError::Guard(why)) => {
            GroupError::Unavailable(format!("others write all the time, nothing was changed: {why}"))
        }
        other => GroupError::Unavailable(other.to_string()),
    }
}

fn vitals(pulse: Pulse, status: &GroupStatus) -> ReplicaVitals {
    let role = status.replicas.iter().find(|replica| replica.id == pulse.id).map_or("", |replica| replica.role);
    let of = ReplicaVitals { id: pulse.id, address: pulse.address, role, ..ReplicaVitals::default() };
    match pulse.vitals {
        Err(why) => ReplicaVitals { unreachable: Some(why), ..of },
        Ok(vitals) => {
            let note = Note::read(&vitals.note);
            let answer = VitalsAnswer {
                version: note.version,
                term: vitals.term,
                revision: vitals.revision,
                applied_index: vitals.applied_index,
                commit: latency(vitals.commit),
                fsync: latency(vitals.fsync),
                proxies: note.proxies.map(|proxies| proxies as u64),
                propagation: note.propagation,
                is_between_authorities: vitals.trust.is_between(),
            };
            ReplicaVitals { answer: Some(answer), ..of }
        }
    }
}

fn shown(status: &Status) -> GroupStatus {
    let replicas = status.members.iter().map(|member| ReplicaStatus {
        id: member.id,
        address: member.address.clone(),
        role: match (status.leader == Some(member.id), member.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "learner",
        },
        replicated_index: member.replicated.or((member.id == status.id).then_some(status.last_log_index)),
    });
    GroupStatus {
        id: status.id,
        role: match status.role {
            Role::Leader => "leader",
            Role::Voter => "voter",
            Role::Candidate => "candidate",
            Role::Learner => "learner",
            Role::Stopped => "stopped",
        },
        term: status.term,
        leader: status.leader,
        revision: status.revision.0,
        applied_index: status.applied_index,
        last_log_index: status.last_log_index,
        snapshot_index: status.snapshot_index,
        commit: latency(status.commit),
        fsync: latency(status.fsync),
        replicas: replicas.collect(),
    }
}

fn latency(percentiles: Percentiles) -> Latency {
    Latency::new(percentiles.p50, percentiles.p99)
}
