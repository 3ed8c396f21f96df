//! A leader that no majority answers has the others elect another one.
//!
//! Some of them may hear it though it does not hear them. They refuse every candidate as long as they do,
//! and would begin to look for another leader only when this one falls silent. So it tells them at once, in
//! its vitals.

use std::future::Future;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;

use crate::RaftStore;
use crate::leadership::Contact;
use crate::types::ReplicaId;
use crate::vitals::Vitals;

/// How long the others have to stand for election before the last one does.
const PAUSE: Duration = Duration::from_millis(50);

/// Tells the others each time that this leader is cut off, until it stops. Who stands for election refuses
/// nobody any more for having heard a leader, and of two candidates of one term the one with the higher id
/// is elected; so that one is told last.
pub(crate) async fn whenever_cut_off<F: Future<Output = ()>>(
    mut contact: watch::Receiver<Contact>,
    others: impl Fn() -> Vec<ReplicaId>,
    tell: impl Fn(ReplicaId) -> F,
) {
    while contact.wait_for(|now| now.is_cut_off).await.is_ok() {
        let mut others = others();
        others.sort_unstable();
        let last = others.pop();
        let first = join_all(others.into_iter().map(&tell));
        let last = async {
            tokio::time::sleep(PAUSE).await;
            join_all(last.map(&tell)).await
        };
        tokio::join!(first, last);
        if contact.wait_for(|now| !now.is_cut_off).await.is_err() {
            return;
        }
    }
}

impl RaftStore {
    /// Gives the leadership up when no majority answers, as long as this replica runs.
    pub(crate) async fn give_up_when_cut_off(self) {
        let others = || self.voters().into_iter().filter(|id| *id != self.id()).collect();
        let tell = |id| {
            let store = self.clone();
            async move {
                let Some(address) = store.members().remove(&id) else { return };
                // That there is no answer tells nothing: the question may have arrived.
                let answer = store.ask(id, &address).await.map(drop);
                tracing::info!(replica = id, ?answer, "no majority answers, told another replica");
            }
        };
        whenever_cut_off(self.inner().contact.clone(), others, tell).await;
    }

    /// Stands for election when whom this replica follows says that no majority answers it.
    pub(crate) fn stand_when_given_up(&self, told: &Vitals) {
        let is_its_leader = {
            let now = self.raft().metrics();
            let now = now.borrow();
            now.current_leader == Some(told.id) && now.current_term == told.term && told.id != self.id()
        };
        if is_its_leader && told.is_cut_off && self.voters().contains(&self.id()) {
            tracing::info!(leader = told.id, term = told.term, "leader hears no majority, standing for election");
            let raft = self.raft().clone();
            tokio::spawn(async move { raft.trigger().elect().await });
        }
    }
}
