//! Opening the store.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use api::group::Group;
use raft::{Join, RaftStore};
use store::{MemoryStore, Store};

use crate::group::RaftGroup;
use crate::settings::StoreSettings;

/// An open store, and what must be done with it at the end.
pub(crate) struct OpenStore {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    replica: Option<RaftStore>,
    /// The group of replicas; `None` in memory.
    pub(crate) group: Option<Arc<dyn Group>>,
}

/// Opens the store that is configured.
///
/// # Errors
/// When the data directory cannot be used.
pub(crate) async fn open(settings: &StoreSettings) -> Result<OpenStore> {
    match settings {
        StoreSettings::Memory => {
            tracing::warn!("store.type is memory: everything is lost when the process ends");
            Ok(OpenStore { store: Arc::new(MemoryStore::new()), replica: None, group: None })
        }
        StoreSettings::Raft {
            data_dir,
            key_file,
            listen,
            advertise,
            join,
            join_token_file,
            heartbeat,
            election_timeout,
            commit_timeout,
        } => {
            let settings = raft::Settings {
                key_file: key_file.clone(),
                listen: *listen,
                advertise: advertise.clone(),
                join: group(join, join_token_file.as_deref())?,
                heartbeat: *heartbeat,
                election_timeout_min: *election_timeout,
                election_timeout_max: *election_timeout * 3 / 2,
                commit_timeout: *commit_timeout,
                ..raft::Settings::new(data_dir)
            };
            let replica = RaftStore::open(settings)
                .await
                .with_context(|| format!("could not open the store in {} (store.raft.dataDir)", data_dir.display()))?;
            if let Some(token) = replica.join_token() {
                offer_token(data_dir, &token)?;
            }
            let group = RaftGroup { replica: replica.clone(), data_dir: data_dir.clone() };
            Ok(OpenStore { store: Arc::new(replica.clone()), replica: Some(replica), group: Some(Arc::new(group)) })
        }
    }
}

/// Leaves the token by which other replicas join where the operator finds it.
fn offer_token(data_dir: &Path, token: &str) -> Result<()> {
    let path = data_dir.join("join-token");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(token.as_bytes())
    };
    write().with_context(|| format!("could not write {}", path.display()))?;
    tracing::info!(file = %path.display(), "replicas join with the token in this file (store.raft.joinTokenFile)");
    Ok(())
}

/// The group to join, when one is named.
fn group(addresses: &[String], token_file: Option<&Path>) -> Result<Option<Join>> {
    let Some(file) = token_file.filter(|_| !addresses.is_empty()) else { return Ok(None) };
    let token = std::fs::read_to_string(file)
        .with_context(|| format!("could not read {} (store.raft.joinTokenFile)", file.display()))?;
    Ok(Some(Join { addresses: addresses.to_vec(), token: token.trim().to_owned() }))
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
