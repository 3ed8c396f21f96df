//! A follower stands for election when it has heard nothing of its leader for as long as an election may
//! take to begin.
//!
//! openraft sees to that by itself. But it lets a replica that was refused a vote for its shorter log wait
//! two election timeouts more the next time, however long ago that was and whatever it has by then; and the
//! group may need that one to lead.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::types::{Raft, ReplicaId};

/// How long who was asleep itself has to take what came meanwhile.
const GRACE: Duration = Duration::from_millis(50);

/// Has a replica stand for election when it has heard nothing of the leader that it follows for `silence`,
/// until it stops.
pub(crate) async fn stand_after(raft: Raft, own: ReplicaId, silence: Duration) {
    let mut look_at = Instant::now();
    loop {
        sleep_until(look_at).await;
        let Some(silent_at) = silent_at(&raft, own, silence).await else { return };
        look_at = silent_at + GRACE;
        if silent_at > Instant::now() {
            continue;
        }
        sleep(GRACE).await;
        if self::silent_at(&raft, own, silence).await == Some(silent_at) && raft.trigger().elect().await.is_err() {
            return;
        }
        look_at = Instant::now() + silence;
    }
}

/// When the leader that a replica follows will have been silent for so long; without one it is looked for
/// again after that time. `None` when the replica has stopped.
async fn silent_at(raft: &Raft, own: ReplicaId, silence: Duration) -> Option<Instant> {
    let followed = raft.with_raft_state(move |state| {
        let (vote, voters) = (state.vote_ref(), state.membership_state.effective().voter_ids());
        let follows = vote.committed && vote.leader_id.node_id != own && { voters }.any(|id| id == own);
        state.vote_last_modified().filter(|_| follows)
    });
    Some(followed.await.ok()?.unwrap_or_else(Instant::now) + silence)
}
