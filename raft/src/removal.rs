//! What a replica does when it, or another one, was removed from the group.

use crate::RaftStore;

impl RaftStore {
    /// Writes down who was removed, whenever somebody is.
    pub(crate) async fn remember_removed(self) {
        let mut removed = self.removed().watch();
        removed.mark_changed();
        while removed.changed().await.is_ok() {
            let is_expelled = removed.borrow_and_update().contains(&self.id());
            let (ids, file) = (self.removed().clone(), self.dir().removed());
            let saved = tokio::task::spawn_blocking(move || ids.save(&file)).await;
            if let Ok(Err(error)) = saved {
                tracing::warn!(%error, "list of removed replicas was not written");
            }
            if is_expelled {
                self.expel();
            }
        }
    }

    /// Ends this replica when another one says that it was removed. It hears so at the latest when
    /// it next tells the others how it does.
    pub(crate) async fn obey_removal(self) {
        let Some(mut removed) = self.told_removed() else { return };
        if removed.wait_for(|removed| *removed).await.is_ok() {
            self.expel();
        }
    }

    /// It stands for election no more and says that it must not go on: its state is nobody's.
    fn expel(&self) {
        let id = self.id();
        self.raft().runtime_config().elect(false);
        if let Err(error) = self.dir().set_expelled(true) {
            tracing::error!(%error, "could not note that this replica was removed");
        }
        let why = format!("replica {id} was removed from its group; to come back it must join with an empty directory");
        tracing::error!("{why}");
        self.set_expelled(why);
    }
}
