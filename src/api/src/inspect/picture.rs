//! A dataplane and everything that policies say of it, from one state of the store.

use std::sync::Arc;

use model::kinds::dataplane::Dataplane;
use model::{Key, Kind, Kri, Resource, registry};
use policy::{Destinations, PolicySet, RuleBook, Rules, Shadow, Subject};
use store::State;

use crate::call::Call;
use crate::errors::Problem;

/// Title when an answer cannot be made of what is stored.
pub(super) const FAILED: &str = "Failed building response";

/// One dataplane and its mesh.
pub(super) struct Picture<'a> {
    state: &'a State,
    mesh: Arc<str>,
    pub(super) resource: Arc<Resource>,
    pub(super) dataplane: Arc<Dataplane>,
    pub(super) destinations: Arc<Destinations>,
    subject: Subject,
}

impl<'a> Picture<'a> {
    /// The dataplane of the path; `not_found` is the title when there is none.
    pub(super) fn of(call: &Call, state: &'a State, not_found: &str) -> Result<Self, Problem> {
        let key = Key::new(registry::DATAPLANE, call.param("mesh"), call.param("name"));
        let resource = state.get(&key).cloned().ok_or_else(|| Problem::not_found(not_found))?;
        let subject = Subject::read(&resource).map_err(|e| Problem::internal(FAILED, e))?;
        let dataplane = resource.spec.shared().ok_or_else(|| Problem::internal(FAILED, "no dataplane"))?;
        let destinations = Arc::new(destinations(state, &key.mesh));
        Ok(Self { state, mesh: key.mesh, resource, dataplane, destinations, subject })
    }

    /// What the policies of a kind say of the dataplane.
    pub(super) fn rules(&self, kind: Kind) -> Rules {
        let set = Arc::new(PolicySet::new(kind, self.state.in_mesh(kind, &self.mesh)));
        RuleBook::new(set, Arc::clone(&self.destinations)).rules(&self.subject, Shadow::Excluded)
    }

    /// The section names of inbounds and listeners, with the keys of their rules.
    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The identifier of the dataplane.
    pub(super) fn kri(&self) -> Kri {
        Kri::of(&self.resource)
    }
}

/// Everything in a mesh that traffic can be sent to.
pub(super) fn destinations(state: &State, mesh: &str) -> Destinations {
    let own = state.get(&Key::global(registry::MESH, mesh));
    let kinds = registry::KINDS.iter().filter(|kind| Destinations::holds(**kind));
    Destinations::new(own.into_iter().chain(kinds.flat_map(|kind| state.in_mesh(*kind, mesh))))
}
