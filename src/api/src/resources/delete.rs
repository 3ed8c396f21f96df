//! Deleting a resource and what it owns.

use model::kinds::zone_insight::ZoneInsight;
use model::{Key, Kind, Resource, registry};
use store::{State, Txn};

use super::put::with_revision;
use super::rules;
use crate::call::Call;
use crate::errors::Problem;
use crate::meta;
use crate::routes::Answer;

const TITLE: &str = "Could not delete a resource";

/// `DELETE` of an item.
pub(crate) async fn delete(call: Call, kind: Kind) -> Answer {
    let state = call.api.store.snapshot();
    if !call.param("mesh").is_empty() {
        call.mesh(&state)?;
    }
    let key = Key::new(kind, call.param("mesh"), call.param("name"));
    let stored = state.get(&key).ok_or_else(|| Problem::not_found(TITLE))?;
    if let Some(fault) = rules::foreign_stored(kind, &stored.meta.labels, call.settings()) {
        return Err(Problem::invalid_field(TITLE, "[\"kuma.io/origin\"]", fault));
    }
    call.may_access(kind)?;
    if !call.settings().unsafe_delete {
        check_unused(&state, stored)?;
    }
    let expected = call.expected_revision()?;
    let txn = Txn::new().require_version(key.clone(), expected.unwrap_or(stored.meta.version)).delete(key.clone());
    let committed = call.api.store.commit(txn.by(&call.user.name)).await;
    let committed = committed.map_err(|e| Problem::from_commit(TITLE, &key, &e).of_precondition(expected))?;
    Ok(with_revision(meta::done(&[]), committed.revision))
}

/// A mesh with dataplanes and a zone that is connected stay.
fn check_unused(state: &State, resource: &Resource) -> Result<(), Problem> {
    let key = &resource.key;
    if key.kind == registry::MESH && state.in_mesh(registry::DATAPLANE, &key.name).next().is_some() {
        let reason = "unable to delete mesh, there are still some dataplanes attached";
        return Err(Problem::invalid_field(TITLE, "mesh", reason));
    }
    if key.kind == registry::ZONE {
        let insight = state.get(&Key::global(registry::ZONE_INSIGHT, &key.name));
        let insight = insight.and_then(|insight| insight.spec::<ZoneInsight>());
        if insight.is_some_and(ZoneInsight::is_online) {
            let reason = "unable to delete Zone, Zone CP is still connected, please shut it down first";
            return Err(Problem::invalid_field(TITLE, "zone", reason));
        }
    }
    Ok(())
}
