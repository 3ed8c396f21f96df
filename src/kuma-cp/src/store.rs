//! Opening the store.

use std::sync::Arc;

use anyhow::{Context, Result};
use raft::RaftStore;
use store::{MemoryStore, Store};

use crate::settings::StoreSettings;

/// An open store, and what must be done with it at the end.
pub(crate) struct OpenStore {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    replica: Option<RaftStore>,
}

/// Opens the store that is configured.
///
/// # Errors
/// When the data directory cannot be used.
pub(crate) async fn open(settings: &StoreSettings) -> Result<OpenStore> {
    match settings {
        StoreSettings::Memory => {
            tracing::warn!("store.type is memory: everything is lost when the process ends");
            Ok(OpenStore { store: Arc::new(MemoryStore::new()), replica: None })
        }
        StoreSettings::Raft { data_dir, key_file, heartbeat, election_timeout, commit_timeout } => {
            let settings = raft::Settings {
                key_file: key_file.clone(),
                heartbeat: *heartbeat,
                election_timeout_min: *election_timeout,
                election_timeout_max: *election_timeout * 2,
                commit_timeout: *commit_timeout,
                ..raft::Settings::new(data_dir)
            };
            let replica = RaftStore::open(settings)
                .await
                .with_context(|| format!("could not open the store in {} (store.raft.dataDir)", data_dir.display()))?;
            Ok(OpenStore { store: Arc::new(replica.clone()), replica: Some(replica) })
        }
    }
}

impl OpenStore {
    /// Resolves when the store failed for good, with the reason.
    pub(crate) async fn failed(&self) -> String {
        match &self.replica {
            None => std::future::pending().await,
            Some(replica) => replica.failed().await,
        }
    }

    /// Stops the store in order.
    pub(crate) async fn close(self) {
        if let Some(replica) = self.replica {
            replica.shutdown().await;
        }
    }
}
