//! A dataplane in the picture of its mesh.

use std::sync::Arc;

use model::kinds::dataplane::Dataplane;
use model::{Kind, Kri, Resource, registry};
use policy::{Rules, Shadow, Subject};
use store::State;
use xds::MeshView;
use xds::view::DataplaneEntry;

use crate::call::Call;
use crate::errors::Problem;

/// One dataplane and its mesh.
pub(super) struct Picture {
    pub(super) view: Arc<MeshView>,
    pub(super) entry: Arc<DataplaneEntry>,
}

impl Picture {
    /// The dataplane of the path; `not_found` is the title when there is none.
    pub(super) fn of(call: &Call, state: &State, not_found: &str) -> Result<Self, Problem> {
        let key = model::Key::new(registry::DATAPLANE, call.param("mesh"), call.param("name"));
        if state.get(&key).is_none() {
            return Err(Problem::not_found(not_found));
        }
        let view = view(call, state, &key.mesh);
        let entry = view.dataplane(&key.name).cloned();
        let entry = entry.ok_or_else(|| Problem::internal(not_found, "the dataplane cannot be read"))?;
        Ok(Self { view, entry })
    }

    /// What the policies of a kind say of the dataplane; `None` when there is no policy.
    pub(super) fn rules(&self, kind: Kind) -> Option<Rules> {
        Some(self.view.policies().book(kind)?.rules(&self.entry.subject, Shadow::Excluded))
    }

    /// The stored dataplane.
    pub(super) fn resource(&self) -> &Resource {
        &self.entry.resource
    }

    /// Its spec.
    pub(super) fn dataplane(&self) -> &Dataplane {
        &self.entry.spec
    }

    /// What policies look at in it.
    pub(super) fn subject(&self) -> &Subject {
        &self.entry.subject
    }

    /// The identifier of the dataplane.
    pub(super) fn kri(&self) -> Kri {
        Kri::of(&self.entry.resource)
    }
}

/// The picture of a mesh: the one that proxies are served from when it shows this state, else one
/// made now.
pub(super) fn view(call: &Call, state: &State, mesh: &str) -> Arc<MeshView> {
    let running = call.api.running.as_ref().and_then(|running| running.view(mesh));
    match running {
        Some((view, revision)) if revision >= state.revision() => view,
        _ => {
            let of_mesh = state.iter().filter(|resource| MeshView::holds(mesh, &resource.key));
            Arc::new(MeshView::build(mesh, of_mesh, &call.api.view_settings))
        }
    }
}
