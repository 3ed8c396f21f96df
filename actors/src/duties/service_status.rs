//! What MeshServices say of themselves: their identities, whether mTLS can be used, how many
//! dataplanes there are, and whether any is healthy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdSet;
use model::kinds::conditions::ConditionStatus;
use model::kinds::dataplane::Dataplane;
use model::kinds::mesh_identity::{self, MeshIdentity, MeshIdentityStatus, ProviderType};
use model::kinds::mesh_service::{
    DataplaneProxies, MeshService, MeshServiceStatus, MeshServiceTls, ServiceIdentity, ServiceIdentityType,
    ServiceState, TlsStatus,
};
use model::kinds::mesh_trust::MeshTrust;
use model::registry::{DATAPLANE, MESH_IDENTITY, MESH_TRUST};
use model::{Key, Labels, Resource, Spec};

use super::collection::{is_local, is_online, selects, serves_all_ports};
use super::pass::Pass;
use super::settings::DutySettings;
use crate::authority;

/// Brings state, identities and status of local MeshServices up to date.
pub fn keep(pass: &mut Pass, settings: &DutySettings) {
    let mut worlds: BTreeMap<Arc<str>, World<'_>> = BTreeMap::new();
    for key in pass.focus().services.clone() {
        let Some(service) = pass.state().get(&key).filter(|s| is_local(s)).cloned() else { continue };
        let Some(spec) = service.spec::<MeshService>() else { continue };
        let world = worlds.entry(Arc::clone(&key.mesh)).or_insert_with(|| World::of(pass, &key.mesh, settings));
        let selected = selected(pass, &key.mesh, spec);
        let mut proxies = DataplaneProxies::default();
        for dataplane in &selected {
            proxies.total += 1;
            proxies.connected += u32::from(is_online(pass.state(), dataplane));
            proxies.healthy += u32::from(dataplane.spec::<Dataplane>().is_some_and(|d| serves_all_ports(spec, d)));
        }
        let state = if proxies.healthy > 0 { ServiceState::Available } else { ServiceState::Unavailable };
        let identities = world.identities_of(&selected);
        if state != spec.state || identities != spec.identities {
            let spec = MeshService { state, identities, ..spec.clone() };
            match Spec::of(spec) {
                Ok(spec) => pass.put(service.key.clone(), service.meta.labels.clone(), spec, None),
                Err(error) => pass.fault(format!("{}: {error}", service.key)),
            }
        }
        let mut status = service.status::<MeshServiceStatus>().cloned().unwrap_or_default();
        status.tls = MeshServiceTls { status: Some(world.tls(&status, &selected)) };
        status.dataplane_proxies = proxies;
        pass.put_status(&service.key, status);
    }
}

/// What services of a mesh are judged by.
struct World<'a> {
    /// Identities that were ready before.
    were_ready: BTreeSet<Key>,
    identities: Vec<Arc<Resource>>,
    trust_domains: BTreeSet<String>,
    zone: &'a str,
}

/// The dataplanes behind a service, by name.
fn selected(pass: &Pass, mesh: &Arc<str>, service: &MeshService) -> Vec<Arc<Resource>> {
    let selector = &service.selector;
    let names = match (&selector.dataplane_ref, &selector.dataplane_labels) {
        (Some(reference), _) => OrdSet::unit(reference.name.as_str().into()),
        (None, Some(labels)) => pass.index().dataplanes(mesh, labels.match_labels.as_ref().unwrap_or(&Labels::new())),
        (None, None) => OrdSet::new(),
    };
    let key = |name: &Arc<str>| Key { kind: DATAPLANE, mesh: Arc::clone(mesh), name: Arc::clone(name) };
    let found = names.iter().filter_map(|name| pass.state().get(&key(name)));
    found.filter(|dataplane| selects(service, dataplane)).cloned().collect()
}

impl<'a> World<'a> {
    fn of(pass: &Pass, mesh: &str, settings: &'a DutySettings) -> Self {
        let trusts = pass.state().in_mesh(MESH_TRUST, mesh);
        let identities = pass.in_mesh(MESH_IDENTITY, mesh);
        let were_ready = identities.iter().filter(|identity| authority::was_ready(pass.state(), identity));
        Self {
            were_ready: were_ready.map(|identity| identity.key.clone()).collect(),
            identities,
            trust_domains: trusts.filter_map(|r| Some(r.spec::<MeshTrust>()?.trust_domain.clone())).collect(),
            zone: &settings.zone,
        }
    }

    /// The distinct SPIFFE IDs of the dataplanes under every identity that issues or names them.
    fn identities_of(&self, dataplanes: &[Arc<Resource>]) -> Vec<ServiceIdentity> {
        let mut ids = BTreeSet::new();
        for identity in self.identities.iter().filter(|i| self.is_ready(i, true)) {
            let Some(spec) = identity.spec::<MeshIdentity>() else { continue };
            for dataplane in dataplanes.iter().filter(|d| spec.specificity(&d.meta.labels).is_some()) {
                if let Ok(id) = authority::spiffe_id(identity, &dataplane.meta.labels, self.zone) {
                    ids.insert(id);
                }
            }
        }
        ids.into_iter().map(|value| ServiceIdentity { kind: ServiceIdentityType::SpiffeId, value }).collect()
    }

    /// Once ready a service stays ready while the mesh has any identity.
    fn tls(&self, status: &MeshServiceStatus, dataplanes: &[Arc<Resource>]) -> TlsStatus {
        if self.identities.is_empty() {
            return TlsStatus::NotReady;
        }
        let was_ready = status.tls.status == Some(TlsStatus::Ready);
        if was_ready || dataplanes.iter().all(|dataplane| self.takes_mtls(dataplane)) {
            TlsStatus::Ready
        } else {
            TlsStatus::NotReady
        }
    }

    /// Whether the dataplane's identity is ready and somebody can verify it.
    fn takes_mtls(&self, dataplane: &Resource) -> bool {
        let Some(identity) = mesh_identity::best_match(&self.identities, &dataplane.meta.labels) else { return false };
        let Some(spec) = identity.spec::<MeshIdentity>() else { return false };
        let is_spire = spec.provider.as_ref().is_some_and(|p| p.kind == ProviderType::Spire);
        let is_trusted =
            || authority::trust_domain(identity, self.zone).is_ok_and(|domain| self.trust_domains.contains(&domain));
        self.is_ready(identity, false) && (is_spire || is_trusted())
    }

    /// Whether an identity is ready, or was: its dataplanes keep their certificates and names while it
    /// gets another authority. `or_partly` also takes one that only names its dataplanes.
    fn is_ready(&self, identity: &Resource, or_partly: bool) -> bool {
        let ready = identity.status::<MeshIdentityStatus>().and_then(|s| s.condition("Ready"));
        self.were_ready.contains(&identity.key)
            || ready.is_some_and(|c| c.status == ConditionStatus::True || (or_partly && c.reason == "PartiallyReady"))
    }
}
