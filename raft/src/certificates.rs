//! The certificates that this replica shows, and those that it trusts: renewed long before they end,
//! and replaced with the group's authority.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::RaftStore;
use crate::listener::Doors;
use crate::peers::Peers;
use crate::pki::{Pki, Step, Trust};
use crate::types::ReplicaId;

/// Both sides of connections with others. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    pki: Pki,
    id: ReplicaId,
    renewal: Duration,
    peers: Peers,
    doors: Doors,
    /// Held while certificates are presented, so that they never go back; the newest term in which
    /// a step of a replacement was ordered.
    term: Arc<Mutex<u64>>,
}

impl Certificates {
    /// With connections to others that show a first certificate, and doors that are closed yet.
    pub(crate) fn new(pki: Pki, id: ReplicaId, renewal: Duration) -> Result<Self, rcgen::Error> {
        let peers = Peers::new(pki.client_tls(id, renewal)?);
        Ok(Self { pki, id, renewal, peers, doors: Doors::default(), term: Arc::default() })
    }

    /// Whom this replica believes.
    pub(crate) fn trust(&self) -> Trust {
        self.pki.trust()
    }

    /// The connections to others.
    pub(crate) fn peers(&self) -> Peers {
        self.peers.clone()
    }

    /// Where the connections of others go.
    pub(crate) fn doors(&self) -> Doors {
        self.doors.clone()
    }

    /// Shows others a new certificate from now on, and believes whom the group believes.
    ///
    /// # Errors
    /// When there is none; it goes on with the one before.
    pub(crate) fn present(&self, store: &RaftStore) -> Result<(), String> {
        let _alone = self.term.lock().unwrap_or_else(PoisonError::into_inner);
        self.present_alone(store)
    }

    fn present_alone(&self, store: &RaftStore) -> Result<(), String> {
        // Read first: whatever comes after it is presented once more.
        let trusted = self.pki.trusted();
        let client = self.pki.client_tls(self.id, self.renewal).map_err(|e| e.to_string())?;
        let server = self.pki.server_tls(self.id, self.renewal).map_err(|e| e.to_string())?;
        self.doors.open(store, server, trusted)?;
        self.peers.renew(client);
        Ok(())
    }

    /// Takes a step of a replacement of the authority that the leader of `term` ordered. When it
    /// returns, the step is on disk, and every connection from now on is made accordingly.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(crate) fn take_step(&self, store: &RaftStore, term: u64, step: &Step) -> Result<(), String> {
        let mut newest = self.term.lock().unwrap_or_else(PoisonError::into_inner);
        let known = store.status().term.max(*newest);
        if term < known {
            return Err(format!("it was ordered in term {term}, and this is term {known}"));
        }
        *newest = term;
        tracing::info!(term, ?step, "replacement of the authority of the replicas");
        self.pki.take_step(step, &store.dir().pki())?;
        // First of all: whoever is not believed any more is refused from here on.
        self.present_alone(store)?;
        crate::keys::write_private(&store.dir().join_token(), self.pki.token().as_bytes())
            .map_err(|e| format!("the file of the join token was not written: {e}"))
    }

    /// Shows others a new certificate after each interval of renewal.
    pub(crate) async fn renew(self, store: RaftStore) {
        loop {
            tokio::time::sleep(self.renewal).await;
            match self.present(&store) {
                Ok(()) => tracing::info!("certificate of this replica renewed"),
                Err(error) => {
                    tracing::error!(%error, "certificate of this replica was not renewed, tried again later");
                }
            }
        }
    }
}
