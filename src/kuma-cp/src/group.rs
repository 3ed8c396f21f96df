//! The group of replicas, as the API asks for it.

use std::io;
use std::path::PathBuf;

use api::group::{Group, GroupChange, GroupError, GroupStatus, Latency, ReplicaStatus};
use futures::future::BoxFuture;
use raft::{ChangeError, Percentiles, RaftStore, Role, Status};

/// This replica, and where it may leave a file for a moment.
pub(crate) struct RaftGroup {
    pub(crate) replica: RaftStore,
    pub(crate) data_dir: PathBuf,
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
            };
            made.map_err(|error| match error {
                ChangeError::Refused(why) => GroupError::Refused(why),
                ChangeError::NoLeader { .. } | ChangeError::Unknown(_) => GroupError::Unavailable(error.to_string()),
            })
        })
    }

    fn backup(&self) -> BoxFuture<'static, Result<tokio::fs::File, GroupError>> {
        let replica = self.replica.clone();
        let path = self.data_dir.join(format!("backup-{}", uuid::Uuid::new_v4().simple()));
        Box::pin(async move { taken(&replica, path).await.map_err(|error| GroupError::Failed(error.to_string())) })
    }
}

/// A backup in a file without a name.
async fn taken(replica: &RaftStore, path: PathBuf) -> io::Result<tokio::fs::File> {
    replica.backup(&path).await?;
    let file = tokio::fs::File::open(&path).await?;
    tokio::fs::remove_file(&path).await?;
    Ok(file)
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
