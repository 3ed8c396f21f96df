//! A Dataplane that a proxy brought along is stored, and deleted when the proxy is gone for good.

use std::sync::Arc;

use model::kinds::dataplane_insight::DataplaneInsight;
use model::registry::MESH;
use model::{Key, Timestamp};
use store::{CommitError, GuardFailure, Put, StatusChange, Txn};
use tracing::{info, warn};

use super::authenticate::Subject;
use super::brought::BroughtDataplane;
use super::proxy_id::ProxyId;
use super::refusal::RegistrationError;
use crate::shared::Shared;

/// How often a write that lost a race is tried again.
const ATTEMPTS_MAX: usize = 5;

/// Stores the Dataplane. Whoever replaces one must own the one that is stored, too: otherwise a
/// token that is bound to a mesh alone could take over any name in it.
pub(crate) async fn register(
    shared: &Shared,
    brought: &BroughtDataplane,
    credential: &str,
) -> Result<(), RegistrationError> {
    let key = brought.id.dataplane();
    let mesh = Key::global(MESH, &brought.id.mesh);
    let labels = brought.stored_labels(&shared.settings);
    for _ in 0..ATTEMPTS_MAX {
        let state = shared.store.snapshot();
        if state.get(&mesh).is_none() {
            return Err(RegistrationError::NoMesh(brought.id.mesh.to_string()));
        }
        let spec = brought.stored_spec(&shared.settings, state.get(&key).map(|stored| &**stored))?;
        let txn = match state.get(&key) {
            None => Txn::new().require_absent(key.clone()),
            Some(stored) => {
                let subject = Subject { mesh: &key.mesh, name: &key.name, labels: &stored.meta.labels };
                let authentication = &shared.settings.authentication;
                authentication
                    .check(&state, credential, subject, Timestamp::now())
                    .map_err(|_| RegistrationError::Override)?;
                if stored.meta.labels == labels && stored.spec == spec {
                    return Ok(());
                }
                Txn::new().require_version(key.clone(), stored.meta.version)
            }
        };
        let txn = txn.put_with(Put {
            key: key.clone(),
            labels: labels.clone(),
            spec: spec.clone(),
            status: StatusChange::Keep,
            owner: Some(mesh.clone()),
            times: None,
        });
        match shared.store.commit(txn).await {
            Ok(committed) => {
                info!(proxy = %brought.id, revision = %committed.revision, "registered");
                return Ok(());
            }
            Err(CommitError::Guard(GuardFailure::NoTarget(_))) => {
                return Err(RegistrationError::NoMesh(brought.id.mesh.to_string()));
            }
            Err(CommitError::Guard(_) | CommitError::Unknown) => {}
            Err(error) => return Err(RegistrationError::Store(error)),
        }
    }
    Err(RegistrationError::Contended)
}

/// Deletes the Dataplane after a while, unless its proxy is back, here or at another replica.
pub(crate) async fn deregister_later(shared: Arc<Shared>, id: ProxyId) {
    tokio::select! {
        () = tokio::time::sleep(shared.settings.deregistration_delay) => {}
        () = shared.draining.cancelled() => return,
    }
    if shared.hub(&id.mesh).has(&id.name) || shared.draining.is_cancelled() {
        return;
    }
    let state = shared.store.snapshot();
    let Some(stored) = state.get(&id.dataplane()) else { return };
    let newest = state.get(&id.insight()).and_then(|insight| insight.spec::<DataplaneInsight>()?.last_subscription());
    let elsewhere = newest.is_some_and(|newest| newest.control_plane_instance_id != *shared.settings.instance_id);
    if elsewhere {
        return;
    }
    let txn = Txn::new().require_version(id.dataplane(), stored.meta.version).delete(id.dataplane());
    match shared.store.commit(txn).await {
        Ok(committed) => info!(proxy = %id, revision = %committed.revision, "deregistered"),
        Err(error) => warn!(proxy = %id, %error, "not deregistered"),
    }
}
