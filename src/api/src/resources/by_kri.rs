//! One resource by its identifier.

use std::sync::Arc;

use model::kri::Kri;
use model::{Key, Resource, Scope};
use store::State;

use super::read;
use crate::call::Call;
use crate::errors::Problem;
use crate::routes::Answer;

/// `GET /_kri/{kri}`.
pub(crate) async fn by_kri(call: Call) -> Answer {
    let kri: Kri = call.param("kri").parse().map_err(Problem::bad_request)?;
    let state = call.state().await?;
    call.may_access(kri.kind)?;
    let resource = find(&call, &state, &kri).ok_or_else(|| Problem::not_found(read::TITLE))?;
    let format = "Could not format a resource";
    read::answer(&call, &resource, format, Some(&kri.namespace))
}

/// A resource of this control plane is stored under its own name. A copy from elsewhere is stored
/// under a hashed one; it is found by the labels that its identifier is made of.
fn find(call: &Call, state: &State, kri: &Kri) -> Option<Arc<Resource>> {
    let here = kri.zone.is_empty() || call.settings().zone() == Some(&*kri.zone);
    let key = Key::new(kri.kind, &kri.mesh, &kri.name);
    let whole = kri.with_section("");
    let is_named = |resource: &Resource| Kri::of(resource) == whole;
    let plain = state.get(&key).filter(|resource| here || is_named(resource));
    let mesh = if kri.kind.scope == Scope::Global { "" } else { &kri.mesh };
    let elsewhere = || state.in_mesh(kri.kind, mesh).find(|resource| is_named(resource));
    plain.or_else(elsewhere).cloned()
}
