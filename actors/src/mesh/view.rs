//! What the actors ask of the crate `xds`: the picture of a mesh.

use std::sync::Arc;

use model::registry::{GLOBAL_SECRET, MESH, MESH_IDENTITY, MESH_TLS, MESH_TRUST, SECRET};
use model::{Change, Key, Kind, Resource};
use store::ChangeBatch;
use xds::view::{Mode, ViewSettings};
use xds::{MeshView, Touched};

use crate::authority;
use crate::settings::Settings;

/// The settings that views are made with.
pub(crate) fn settings(settings: &Settings) -> Arc<ViewSettings> {
    Arc::new(ViewSettings {
        zone: Arc::clone(&settings.zone),
        mode: Mode::Zone,
        kubernetes: settings.kubernetes,
        internal_addresses: settings.internal_addresses.clone(),
        spire_socket_path: settings.spire_socket_path.clone(),
    })
}

/// Whether a batch has anything for the picture of `mesh`.
pub(crate) fn concerns(mesh: &str, batch: &ChangeBatch) -> bool {
    batch.changes.iter().any(|change| MeshView::holds(mesh, &change.key))
}

/// Whether a batch can change which certificates proxies need, beside what their own Dataplanes say.
pub(crate) fn decides_identities(batch: &ChangeBatch) -> bool {
    const KINDS: [Kind; 6] = [MESH, MESH_IDENTITY, MESH_TRUST, MESH_TLS, SECRET, GLOBAL_SECRET];
    batch.changes.iter().any(|change| KINDS.contains(&change.key.kind))
}

/// The next picture, and whose configuration can differ. An authority that changes asks every proxy
/// to look whether its certificate is still the right one.
pub(crate) fn fold(view: &MeshView, changes: &[Change]) -> (MeshView, Touched) {
    let (view, touched) = view.fold(changes);
    let mut secrets = changes.iter().filter(|change| change.key.kind == SECRET);
    let is_of_authority = secrets.any(|change| view.identities().any(|identity| keeps(identity, &change.key)));
    let touched = if is_of_authority { Touched::All } else { touched };
    (view, touched)
}

/// Whether a secret holds a part of an identity's authority.
fn keeps(identity: &Resource, secret: &Key) -> bool {
    let (certificate, key) = authority::secret_keys(identity);
    let given = authority::bundled(identity).and_then(|bundled| bundled.ca.as_ref());
    let mut references = given.into_iter().flat_map(|ca| [&ca.certificate, &ca.private_key]).flatten();
    *secret == certificate
        || *secret == key
        || references.any(|source| source.secret_ref.as_ref().is_some_and(|named| *named.name == *secret.name))
}
