//! The picture of one mesh: everything that proxies of it can run, read once, indexed, and shared.
//!
//! A [`MeshView`] is never changed. [`MeshView::fold`] makes the next one out of it and a batch of
//! changes; what did not change is shared by both, so that a fold costs what changed and not what
//! there is. It also tells whom the batch can concern ([`Touched`]): a proxy that is not named there
//! has the same configuration as before.
//!
//! Building a view from nothing is folding all resources into the empty one, and a test holds that
//! the order of changes does not matter.

mod backing;
mod dataplanes;
mod destinations;
mod fold;
mod identities;
pub mod label_index;
mod policies;
pub(crate) mod reach;
mod settings;
mod touched;
pub(crate) mod vips;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use imbl::OrdMap;
use model::kinds::mesh_service::MeshService;
use model::kinds::secret::Secret;
use model::{Change, Key, Kind, Kri, Resource, Scope, registry};

pub use backing::{Backing, EndpointSet, PortBacking};
pub use dataplanes::DataplaneEntry;
pub use destinations::{Destination, Details, Port};
pub use identities::ZoneEgress;
pub use policies::Policies;
pub use reach::{Reach, ReachRef};
pub use settings::{Mode, ViewSettings};
pub use touched::Touched;
pub use vips::Outbounds;

use dataplanes::Dataplanes;
use destinations::Destinations;
use identities::Identities;

/// The kinds of destinations, in the order in which proxies list them.
pub(crate) const DESTINATION_KINDS: [Kind; 3] =
    [registry::MESH_SERVICE, registry::MESH_EXTERNAL_SERVICE, registry::MESH_MULTI_ZONE_SERVICE];

/// The immutable picture of one mesh at one revision. Cloning shares everything.
#[derive(Clone, Debug)]
pub struct MeshView {
    mesh: Arc<str>,
    settings: Arc<ViewSettings>,
    /// Everything of the mesh that proxies depend on, as stored.
    resources: OrdMap<Key, Arc<Resource>>,
    dataplanes: Dataplanes,
    destinations: Destinations,
    backings: OrdMap<Key, Backing>,
    identities: Identities,
    trusts: OrdMap<Arc<str>, Arc<Resource>>,
    trusted_cas: Arc<BTreeMap<String, Vec<String>>>,
    /// MeshZoneAddresses by zone and name.
    zone_addresses: OrdMap<Arc<str>, OrdMap<Arc<str>, Arc<Resource>>>,
    zone_egresses: Arc<Vec<ZoneEgress>>,
    policies: Arc<Policies>,
    /// Addresses of all destinations, found when first asked for.
    vips: Arc<OnceLock<vips::Vips>>,
    /// What proxies share of their configurations.
    pub(crate) shared: crate::proxy::Shared,
    /// Resources that could not be read; they count as absent.
    faults: OrdMap<Key, String>,
}

impl MeshView {
    /// The picture of a mesh without any resource.
    pub fn empty(mesh: &str, settings: &Arc<ViewSettings>) -> Self {
        Self {
            mesh: mesh.into(),
            settings: Arc::clone(settings),
            resources: OrdMap::new(),
            dataplanes: Dataplanes::default(),
            destinations: Destinations::default(),
            backings: OrdMap::new(),
            identities: OrdMap::new(),
            trusts: OrdMap::new(),
            trusted_cas: Arc::default(),
            zone_addresses: OrdMap::new(),
            zone_egresses: Arc::default(),
            policies: Arc::default(),
            vips: Arc::default(),
            shared: crate::proxy::Shared::default(),
            faults: OrdMap::new(),
        }
    }

    /// The picture of a mesh with these resources. Those of other meshes, and kinds that no proxy
    /// depends on, are left out.
    pub fn build<'a>(
        mesh: &str,
        resources: impl IntoIterator<Item = &'a Arc<Resource>>,
        settings: &Arc<ViewSettings>,
    ) -> Self {
        let created = |resource: &Arc<Resource>| Change {
            key: resource.key.clone(),
            before: None,
            after: Some(Arc::clone(resource)),
        };
        let changes: Vec<_> = resources.into_iter().map(created).collect();
        Self::empty(mesh, settings).fold(&changes).0
    }

    /// The next picture, and which proxies can differ from this one to it.
    pub fn fold(&self, changes: &[Change]) -> (Self, Touched) {
        fold::fold(self, changes)
    }

    /// Whether a resource belongs into the picture of `mesh`.
    pub fn holds(mesh: &str, key: &Key) -> bool {
        if key.kind == registry::MESH {
            return *key.name == *mesh;
        }
        key.kind.scope == Scope::Mesh && *key.mesh == *mesh && (key.kind.is_policy || HELD_KINDS.contains(&key.kind))
    }

    /// Name of the mesh.
    pub fn mesh(&self) -> &Arc<str> {
        &self.mesh
    }

    /// The settings that it was made with.
    pub fn settings(&self) -> &Arc<ViewSettings> {
        &self.settings
    }

    /// A resource as it is stored.
    pub fn resource(&self, key: &Key) -> Option<&Arc<Resource>> {
        self.resources.get(key)
    }

    /// All resources of a kind, by name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.range(Key::new(kind, &self.mesh, "")..).map(|(_, r)| r).take_while(move |r| r.key.kind == kind)
    }

    /// A dataplane by name.
    pub fn dataplane(&self, name: &str) -> Option<&Arc<DataplaneEntry>> {
        self.dataplanes.get(name)
    }

    /// All dataplanes, by name.
    pub fn dataplanes(&self) -> impl Iterator<Item = &Arc<DataplaneEntry>> {
        self.dataplanes.iter()
    }

    /// The dataplanes behind a service, by name: what its selector selects, whatever their health.
    pub fn dataplanes_of(&self, service: &MeshService) -> Vec<&Arc<DataplaneEntry>> {
        self.selected_dataplanes(&service.selector)
    }

    /// The destination with this identifier; its section does not count.
    pub fn destination(&self, kri: &Kri) -> Option<&Arc<Destination>> {
        self.destinations.by_kri(kri)
    }

    /// All destinations: MeshServices, MeshExternalServices, MeshMultiZoneServices, each by name.
    pub fn destinations(&self) -> impl Iterator<Item = &Arc<Destination>> {
        DESTINATION_KINDS.into_iter().flat_map(|kind| self.destinations.of_kind(&self.mesh, kind))
    }

    /// What stands behind a destination.
    pub fn backing(&self, destination: &Key) -> Option<&Backing> {
        self.backings.get(destination)
    }

    /// What stands behind the port of a destination. The section may be the port's name or number, or
    /// nothing when it is the only one.
    pub fn port(&self, kri: &Kri) -> Option<&Arc<PortBacking>> {
        let destination = self.destination(kri)?;
        let port = destination.port(&kri.section)?;
        self.backings.get(&destination.key)?.port(&port.section)
    }

    /// The MeshIdentity of a dataplane, ready or not.
    pub fn identity_of(&self, dataplane: &DataplaneEntry) -> Option<&Arc<Resource>> {
        identities::identity_of(&self.identities, &dataplane.labels)
    }

    /// All MeshIdentities, by name.
    pub fn identities(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.identities.values()
    }

    /// The SPIFFE ID that a dataplane has by its MeshIdentity, ready or not.
    pub fn spiffe_id_of(&self, dataplane: &DataplaneEntry) -> Option<String> {
        identities::spiffe_id(self.identity_of(dataplane)?, dataplane, &self.settings)
    }

    /// The CAs (PEM) by trust domain.
    pub fn trusted_cas(&self) -> &Arc<BTreeMap<String, Vec<String>>> {
        &self.trusted_cas
    }

    /// The zone egresses that are ready, by the names of their dataplanes.
    pub fn zone_egresses(&self) -> &[ZoneEgress] {
        &self.zone_egresses
    }

    /// The policies and the rules that they make.
    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// Stands for all addresses and names of destinations: another one when any of them changes.
    pub(crate) fn vips(&self) -> &Arc<OnceLock<vips::Vips>> {
        &self.vips
    }

    /// Whether callers tell destinations their tags: a fault injection may ask for them.
    pub fn are_kuma_tags_used(&self) -> bool {
        self.policies.of_kind(registry::MESH_FAULT_INJECTION).is_some_and(|set| !set.policies().is_empty())
    }

    /// The value of a Secret of the mesh.
    pub fn secret(&self, name: &str) -> Option<&[u8]> {
        let secret = self.resources.get(&Key::new(registry::SECRET, &self.mesh, name))?;
        Some(secret.spec::<Secret>()?.bytes())
    }

    /// Resources that could not be read, and why; they count as absent.
    pub fn faults(&self) -> impl Iterator<Item = (&Key, &str)> {
        self.faults.iter().map(|(key, why)| (key, why.as_str()))
    }

    /// A view made anew from the same resources: equal to this one in everything that proxies can
    /// see. For tests and for a debug mode that distrusts the fold.
    #[must_use]
    pub fn rebuilt(&self) -> Self {
        Self::build(&self.mesh, self.resources.values(), &self.settings)
    }

    /// The first difference to a view of the same resources, in words; `None` when they are equal.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let dataplanes = |view: &Self| view.dataplanes().map(|d| Arc::clone(d.name())).collect::<Vec<_>>();
        let destinations = |view: &Self| view.destinations().cloned().collect::<Vec<_>>();
        let policies = |view: &Self| {
            let sets = view.policies.kinds().filter_map(|kind| view.policies.of_kind(kind));
            sets.flat_map(|set| set.policies().iter().map(|p| Arc::clone(&p.resource)).collect::<Vec<_>>())
                .collect::<Vec<_>>()
        };
        let named = [
            ("resources", self.resources == other.resources),
            ("dataplanes", dataplanes(self) == dataplanes(other)),
            ("destinations", destinations(self) == destinations(other)),
            ("backings", self.backings == other.backings),
            ("identities", self.identities == other.identities),
            ("trusted CAs", self.trusted_cas == other.trusted_cas),
            ("zone egresses", self.zone_egresses == other.zone_egresses),
            ("policies", policies(self) == policies(other)),
            ("faults", self.faults == other.faults),
        ];
        named.into_iter().find(|(_, equal)| !equal).map(|(name, _)| format!("{name} differ"))
    }
}

/// Kinds beside policies and the mesh itself that proxies depend on.
const HELD_KINDS: [Kind; 9] = [
    registry::DATAPLANE,
    registry::MESH_SERVICE,
    registry::MESH_EXTERNAL_SERVICE,
    registry::MESH_MULTI_ZONE_SERVICE,
    registry::MESH_IDENTITY,
    registry::MESH_TRUST,
    registry::MESH_ZONE_ADDRESS,
    registry::MESH_OPEN_TELEMETRY_BACKEND,
    registry::SECRET,
];
