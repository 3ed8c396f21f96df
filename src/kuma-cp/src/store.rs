//! Opening the store.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use api::group::Group;
use raft::{Join, Peers, RaftStore};
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

/// Whether a process with these settings finds an empty store of its own.
pub(crate) fn is_new(settings: &StoreSettings) -> bool {
    match settings {
        StoreSettings::Memory => true,
        StoreSettings::Raft { data_dir, join, peers, .. } => join.is_empty() && peers.is_empty() && !data_dir.exists(),
    }
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
            peers,
            secret_file,
            spread_proxies: _,
            heartbeat,
            election_timeout,
            commit_timeout,
            snapshot_after_entries,
            entries_kept,
        } => {
            // Peers need a token only once the one that their secret gives was replaced.
            let to_join = if peers.is_empty() { join } else { peers };
            let join = group(to_join, join_token_file.as_deref())?;
            let peers = peer_group(peers, secret_file.as_deref(), advertise.as_deref(), *listen)?;
            let settings = raft::Settings {
                key_file: key_file.clone(),
                listen: *listen,
                advertise: peers.as_ref().map(|peers| peers.own.clone()).or_else(|| advertise.clone()),
                join,
                peers,
                heartbeat: *heartbeat,
                election_timeout_min: *election_timeout,
                election_timeout_max: *election_timeout * 3 / 2,
                commit_timeout: *commit_timeout,
                snapshot_after_entries: *snapshot_after_entries,
                entries_kept: *entries_kept,
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

/// The peers with which the group is founded, when they are listed.
fn peer_group(
    addresses: &[String],
    secret_file: Option<&Path>,
    advertise: Option<&str>,
    listen: Option<SocketAddr>,
) -> Result<Option<Peers>> {
    let Some(file) = secret_file.filter(|_| !addresses.is_empty()) else { return Ok(None) };
    let secret = std::fs::read_to_string(file)
        .with_context(|| format!("could not read {} (store.raft.secretFile)", file.display()))?;
    let hostname = crate::certificates::hostname();
    let own = own_address(addresses, advertise, listen, &hostname).with_context(|| {
        let list = addresses.join(", ");
        format!("store.raft.peers: none of {list} is this machine ({hostname}); set store.raft.advertise to its own")
    })?;
    Ok(Some(Peers { addresses: addresses.to_vec(), own: own.to_owned(), secret: secret.trim().to_owned() }))
}

/// Which of the peers this one is: as it says, or where it listens, or whose host has its name (that
/// of a pod is the first label of its address).
fn own_address<'a>(
    addresses: &'a [String],
    advertise: Option<&str>,
    listen: Option<SocketAddr>,
    hostname: &str,
) -> Option<&'a str> {
    let listens_at = listen.map(|address| address.to_string());
    let is_named = |address: &str| {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        host == hostname || host.split('.').next() == Some(hostname)
    };
    let own = match advertise {
        Some(own) => addresses.iter().find(|address| *address == own),
        None => addresses
            .iter()
            .find(|address| Some(*address) == listens_at.as_ref())
            .or_else(|| addresses.iter().find(|address| is_named(address))),
    };
    own.map(String::as_str)
}

impl OpenStore {
    /// The replica of the store; `None` in memory.
    pub(crate) fn replica(&self) -> Option<RaftStore> {
        self.replica.clone()
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_finds_itself_among_its_peers() {
        let pods = ["kuma-cp-0.kuma-cp:5684", "kuma-cp-1.kuma-cp:5684"].map(str::to_owned);
        let machines = ["10.0.0.1:5684", "10.0.0.2:5684"].map(str::to_owned);
        let listen = |address: &str| Some(address.parse::<SocketAddr>().unwrap());
        for (list, advertise, listens, host, expected) in [
            (&pods, None, "0.0.0.0:5684", "kuma-cp-1", Some("kuma-cp-1.kuma-cp:5684")),
            (&pods, Some("kuma-cp-0.kuma-cp:5684"), "0.0.0.0:5684", "x", Some("kuma-cp-0.kuma-cp:5684")),
            (&pods, None, "0.0.0.0:5684", "kuma-cp-10", None),
            (&machines, None, "10.0.0.2:5684", "x", Some("10.0.0.2:5684")),
            (&machines, Some("10.0.0.3:5684"), "10.0.0.2:5684", "x", None),
        ] {
            assert_eq!(own_address(list, advertise, listen(listens), host), expected, "{list:?} {host}");
        }
    }
}
