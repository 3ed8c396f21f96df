//! Who the workloads of a mesh are, and whom they trust.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use model::kinds::dataplane::{ListenerState, ListenerType};
use model::kinds::mesh_identity::{MeshIdentity, best_match};
use model::kinds::mesh_trust::MeshTrust;
use model::{Labels, Resource, spiffe};

use super::dataplanes::DataplaneEntry;
use super::settings::ViewSettings;

/// Path of SPIFFE IDs when a MeshIdentity names none.
const PATH_ON_KUBERNETES: &str = "/ns/{{ .Namespace }}/sa/{{ .ServiceAccount }}";
/// Path of SPIFFE IDs of machines when a MeshIdentity names none.
const PATH_ON_UNIVERSAL: &str = "/workload/{{ .Workload }}";

/// A zone egress that takes traffic for external services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneEgress {
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Its SPIFFE ID, when it has one.
    pub spiffe_id: Option<String>,
}

/// MeshIdentities by name.
pub(super) type Identities = OrdMap<Arc<str>, Arc<Resource>>;

/// The MeshIdentity that a dataplane with these labels has.
pub(super) fn identity_of<'a>(identities: &'a Identities, labels: &Labels) -> Option<&'a Arc<Resource>> {
    best_match(identities.values(), labels)
}

/// The SPIFFE ID of a dataplane by its MeshIdentity; `None` when the templates yield none.
pub(super) fn spiffe_id(identity: &Resource, dataplane: &DataplaneEntry, settings: &ViewSettings) -> Option<String> {
    let spec = identity.spec::<MeshIdentity>()?;
    let templates = spec.spiffe_id.as_ref();
    let trust_domain = spiffe::trust_domain(
        templates.and_then(|t| t.trust_domain.as_deref()),
        &identity.key.mesh,
        &identity.meta.labels,
        &settings.zone,
    )
    .ok()?;
    let is_pod = dataplane.labels.contains_key("k8s.kuma.io/namespace");
    let default = if is_pod { PATH_ON_KUBERNETES } else { PATH_ON_UNIVERSAL };
    let path = templates.and_then(|t| t.path.as_deref()).unwrap_or(default);
    spiffe::spiffe_id(&trust_domain, path, &dataplane.labels).ok().map(|id| id.to_string())
}

/// The CAs (PEM) of each trust domain: those of several MeshTrusts of one domain come in the order of
/// their names.
pub(super) fn trusted_cas(trusts: &OrdMap<Arc<str>, Arc<Resource>>) -> BTreeMap<String, Vec<String>> {
    let mut cas: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for spec in trusts.values().filter_map(|trust| trust.spec::<MeshTrust>()) {
        let pems = spec.ca_bundles.iter().filter_map(|bundle| bundle.pem.as_ref()).map(|pem| pem.value.clone());
        cas.entry(spec.trust_domain.clone()).or_default().extend(pems);
    }
    cas
}

/// The zone egresses that are ready, in the order of their dataplanes' names.
pub(super) fn zone_egresses<'a>(
    dataplanes: impl IntoIterator<Item = &'a Arc<DataplaneEntry>>,
    identities: &Identities,
    settings: &ViewSettings,
) -> Vec<ZoneEgress> {
    let mut egresses = Vec::new();
    for entry in dataplanes {
        let Some(networking) = &entry.spec.networking else { continue };
        let identity = identity_of(identities, &entry.labels);
        let spiffe_id = identity.and_then(|identity| spiffe_id(identity, entry, settings));
        for listener in &networking.listeners {
            if listener.kind == ListenerType::ZoneEgress && listener.state == ListenerState::Ready {
                egresses.push(ZoneEgress {
                    address: networking.listener_address(listener).to_owned(),
                    port: u16::try_from(listener.port).unwrap_or(0),
                    spiffe_id: spiffe_id.clone(),
                });
            }
        }
    }
    egresses
}
