//! What the actors ask of the crate `xds`: the picture of a mesh.

use std::sync::Arc;

use store::{ChangeBatch, State};
use xds::view::{Mode, ViewSettings};
use xds::{MeshView, Touched};

use crate::settings::Settings;

/// The settings that views are made with.
pub(crate) fn settings(settings: &Settings) -> Arc<ViewSettings> {
    Arc::new(ViewSettings {
        zone: Arc::clone(&settings.zone),
        mode: Mode::Zone,
        kubernetes: settings.kubernetes,
        ..ViewSettings::default()
    })
}

/// The picture of a mesh in `state`.
pub(crate) fn build(state: &State, mesh: &str, settings: &Arc<ViewSettings>) -> MeshView {
    MeshView::build(mesh, state.iter(), settings)
}

/// Whether a batch has anything for the picture of `mesh`.
pub(crate) fn concerns(mesh: &str, batch: &ChangeBatch) -> bool {
    batch.changes.iter().any(|change| MeshView::holds(mesh, &change.key))
}

/// The next picture, and whose configuration can differ.
pub(crate) fn fold(view: &MeshView, batch: &ChangeBatch) -> (MeshView, Touched) {
    view.fold(&batch.changes)
}
