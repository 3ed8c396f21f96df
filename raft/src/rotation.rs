//! New secrets for the whole group: the key that seals, the secret with which others join.

use std::fmt::Display;

use crate::RaftStore;
use crate::rpc::{Reply, Request};
use crate::types::ReplicaId;

impl RaftStore {
    pub(crate) async fn rotate_key_here(&self) -> Reply {
        let mut ring = (*self.keys()).clone();
        let (before, id) = (ring.active(), ring.add());
        // First everyone gets it, then everyone uses it: nothing is ever sealed with a key that a
        // replica lacks.
        for active in [before, id] {
            let keys: Vec<_> = ring.keys().map(|(id, key)| (id, *key)).collect();
            if let Err(error) = self.take_keys(keys.clone(), active) {
                return Reply::Refused(error.to_string());
            }
            let request = Request::Keys { keys, active };
            for (replica, address) in self.members().into_iter().filter(|(replica, _)| *replica != self.id()) {
                match self.call(&address, &request, self.timeout()).await {
                    Ok(Reply::Done) => {}
                    Ok(Reply::Refused(why)) => return unreachable_replica(replica, &why),
                    Ok(other) => return unreachable_replica(replica, &format!("{other:?}")),
                    Err(error) => return unreachable_replica(replica, &error),
                }
            }
        }
        Reply::Done
    }

    pub(crate) async fn rotate_secret_here(&self) -> Reply {
        let Some(pki) = self.pki() else {
            return Reply::Refused("this replica has no replica listener, so nobody joins".to_owned());
        };
        let (generation, secret) = pki.next_secret();
        if let Err(error) = self.take_secret(generation, secret) {
            return Reply::Refused(error.to_string());
        }
        let request = pki.secret_request();
        for (replica, address) in self.members().into_iter().filter(|(replica, _)| *replica != self.id()) {
            match self.call_replica(replica, &address, &request, self.timeout()).await {
                Ok(Reply::Done) => {}
                other => {
                    let why = format!("replica {replica} still takes the former one until it is reached ({other:?})");
                    return Reply::Refused(format!("there is a new join token, but {why}"));
                }
            }
        }
        Reply::Done
    }

    /// Keeps a join secret, unless there is a newer one.
    pub(crate) fn take_secret(&self, generation: u64, secret: [u8; 32]) -> std::io::Result<()> {
        let Some(pki) = self.pki() else { return Ok(()) };
        if pki.take_secret(generation, secret, &self.dir().pki())? {
            crate::keys::write_private(&self.dir().join_token(), pki.token().as_bytes())?;
        }
        Ok(())
    }

    /// Keeps sealing keys that the leader sends.
    pub(crate) fn take_keys(&self, keys: Vec<(u32, [u8; 32])>, active: u32) -> std::io::Result<()> {
        let mut ring = (*self.keys()).clone();
        let seals_anew = ring.active() != active;
        for (id, key) in keys {
            ring.insert(id, key);
        }
        ring.activate(active);
        self.replace_keys(ring)?;
        if seals_anew {
            let raft = self.raft().clone();
            tokio::spawn(async move {
                if let Err(error) = raft.trigger().snapshot().await {
                    tracing::warn!(%error, "snapshot with the new key was not taken");
                }
            });
        }
        Ok(())
    }
}

fn unreachable_replica(id: ReplicaId, why: &dyn Display) -> Reply {
    Reply::Refused(format!("replica {id} did not take the key, it must be reachable or removed: {why}"))
}
