//! What stands behind each port of a destination: its endpoints, and who they are.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use model::kinds::data_source::{DataSourceType, SecureDataSource};
use model::kinds::mesh_external_service::MeshExternalService;
use model::kinds::mesh_service::MeshServiceSelector;
use model::kinds::mesh_zone_address::MeshZoneAddress;
use model::{Key, Kri, Labels, registry};

use super::MeshView;
use super::destinations::{Destination, Details, Port};
use crate::generators::outbound::{DestinationPort, Endpoint, Locality};
use crate::proxy_config::ContentHash;

/// Label of a dataplane or an address with its zone.
const ZONE: &str = "kuma.io/zone";
/// Label and tag with the name of a service.
const SERVICE: &str = "kuma.io/service";
/// Tag of an endpoint with its protocol.
const PROTOCOL: &str = "kuma.io/protocol";

/// The endpoints of one destination port, with their hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSet {
    /// The endpoints, in a fixed order.
    pub endpoints: Vec<Endpoint>,
    /// Equal for equal endpoints.
    pub hash: ContentHash,
}

impl EndpointSet {
    fn new(endpoints: Vec<Endpoint>) -> Self {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        endpoints.hash(&mut hasher);
        Self { hash: ContentHash(hasher.finish()), endpoints }
    }
}

fn client_hash(port: &DestinationPort) -> ContentHash {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    (&port.kri, port.protocol, &port.spiffe_ids).hash(&mut hasher);
    ContentHash(hasher.finish())
}

/// One port of a destination with what stands behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct PortBacking {
    /// The port as clients see it.
    pub port: DestinationPort,
    /// Equal for equal ports.
    pub client_hash: ContentHash,
    /// Its endpoints.
    pub endpoints: Arc<EndpointSet>,
    /// Its endpoints in this zone: what a zone ingress leads to.
    pub local: Arc<EndpointSet>,
}

/// What stands behind a destination, port by port.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backing {
    /// In the order of the destination's ports.
    pub ports: Vec<Arc<PortBacking>>,
}

impl Backing {
    /// The port with this section.
    pub fn port(&self, section: &str) -> Option<&Arc<PortBacking>> {
        self.ports.iter().find(|backing| *backing.port.kri.section == *section)
    }
}

impl MeshView {
    /// What stands behind a destination now. Those behind a multi-zone service must be up to date.
    pub(super) fn back(&self, destination: &Destination) -> Backing {
        let ports = destination.ports.iter().map(|port| {
            let kri = destination.port_kri(port);
            let (spiffe_ids, endpoints, local) = match &destination.details {
                Details::Service { selector, tls_ready, spiffe_ids, .. } if destination.is_local => {
                    let ids = tls_ready.then(|| Arc::clone(spiffe_ids));
                    let endpoints = self.local_endpoints(selector, port);
                    (ids, endpoints.clone(), endpoints)
                }
                Details::Service { spiffe_ids, .. } => {
                    (Some(Arc::clone(spiffe_ids)), self.remote_endpoints(destination), Vec::new())
                }
                Details::External(spec) => {
                    let ids: BTreeSet<_> = self.zone_egresses.iter().filter_map(|e| e.spiffe_id.clone()).collect();
                    let ids = (!ids.is_empty()).then(|| Arc::new(ids));
                    (ids, self.egress_endpoints(destination, spec), Vec::new())
                }
                Details::MultiZone(members) => {
                    let (ids, endpoints, local) = self.member_endpoints(members, port);
                    (Some(Arc::new(ids)), endpoints, local)
                }
            };
            let port = DestinationPort { kri, protocol: port.protocol, spiffe_ids };
            Arc::new(PortBacking {
                client_hash: client_hash(&port),
                port,
                endpoints: Arc::new(EndpointSet::new(endpoints)),
                local: Arc::new(EndpointSet::new(local)),
            })
        });
        Backing { ports: ports.collect() }
    }

    /// Healthy inbounds of the dataplanes that a service selects.
    fn local_endpoints(&self, selector: &MeshServiceSelector, port: &Port) -> Vec<Endpoint> {
        let Some(target) = &port.target else { return Vec::new() };
        let mut endpoints = Vec::new();
        for entry in self.selected_dataplanes(selector) {
            let Some(networking) = &entry.spec.networking else { continue };
            for inbound in networking.inbound.iter().filter(|i| i.is_ready() && i.is_target_port(target)) {
                let address = networking.inbound_address(inbound);
                let Ok(port) = u16::try_from(inbound.port) else { continue };
                if address.parse::<IpAddr>().is_err() {
                    continue;
                }
                let mut tags: BTreeMap<_, _> = entry.resource.meta.labels.clone();
                if !inbound.protocol.is_empty() {
                    tags.insert(PROTOCOL.to_owned(), inbound.parsed_protocol().as_str().to_owned());
                }
                let zone = entry.labels.get(ZONE).filter(|zone| !zone.is_empty());
                let locality = zone.map(|zone| Locality { zone: zone.clone(), ..Locality::default() });
                endpoints.push(Endpoint { address: address.to_owned(), port, weight: 1, tags, locality });
            }
        }
        endpoints
    }

    pub(super) fn selected_dataplanes(&self, selector: &MeshServiceSelector) -> Vec<&Arc<super::DataplaneEntry>> {
        if let Some(reference) = selector.dataplane_ref.as_ref().filter(|reference| !reference.name.is_empty()) {
            return self.dataplanes.get(&reference.name).into_iter().collect();
        }
        let Some(labels) = &selector.dataplane_labels else { return Vec::new() };
        let selected = self.dataplanes.select(labels.match_labels.as_ref().unwrap_or(&Labels::new()));
        selected.iter().filter_map(|name| self.dataplanes.get(name)).collect()
    }

    /// The zone ingresses of another zone. Without any identity in the mesh nobody could be called
    /// there.
    fn remote_endpoints(&self, destination: &Destination) -> Vec<Endpoint> {
        let zone = &destination.kri.zone;
        if self.identities.is_empty() || zone.is_empty() || **zone == *self.settings.zone {
            return Vec::new();
        }
        let service = destination.labels.get(SERVICE).map_or(&*destination.key.name, String::as_str);
        let tags = BTreeMap::from([(SERVICE.to_owned(), service.to_owned()), (ZONE.to_owned(), zone.to_string())]);
        let addresses: BTreeSet<(&str, u16)> = self
            .zone_addresses
            .get(zone)
            .into_iter()
            .flat_map(|addresses| {
                addresses.values().filter_map(|resource| {
                    let spec = resource.spec::<MeshZoneAddress>()?;
                    spec.address.parse::<IpAddr>().ok()?;
                    Some((spec.address.as_str(), u16::try_from(spec.port).ok()?))
                })
            })
            .collect();
        let endpoint = |(address, port): (&str, u16)| Endpoint {
            address: address.to_owned(),
            port,
            weight: 1,
            tags: tags.clone(),
            locality: Some(Locality { zone: zone.to_string(), priority: 1, ..Locality::default() }),
        };
        addresses.into_iter().map(endpoint).collect()
    }

    /// The zone egresses, which alone call external services. One that lacks its TLS material is not
    /// called at all.
    fn egress_endpoints(&self, destination: &Destination, spec: &MeshExternalService) -> Vec<Endpoint> {
        if !self.has_secrets_of(spec) {
            return Vec::new();
        }
        let reachable = self.zone_egresses.iter().filter(|egress| egress.address.parse::<IpAddr>().is_ok());
        let endpoint = |egress: &super::ZoneEgress| Endpoint {
            address: egress.address.clone(),
            port: egress.port,
            weight: 1,
            tags: self.resources.get(&destination.key).map(|r| r.meta.labels.clone()).unwrap_or_default(),
            locality: None,
        };
        reachable.map(endpoint).collect()
    }

    /// Whether the mesh has every Secret that the TLS of an external service names.
    fn has_secrets_of(&self, spec: &MeshExternalService) -> bool {
        secrets_of(spec).all(|name| self.resources.contains_key(&Key::new(registry::SECRET, &self.mesh, name)))
    }

    /// The endpoints of a port's namesakes at all services behind a multi-zone service, all of them
    /// and those of this zone, and who they are.
    fn member_endpoints(&self, members: &[Kri], port: &Port) -> (BTreeSet<String>, Vec<Endpoint>, Vec<Endpoint>) {
        let (mut ids, mut endpoints, mut local) = (BTreeSet::new(), Vec::new(), Vec::new());
        for member in members.iter().filter_map(|member| self.destinations.by_kri(member)) {
            let Details::Service { available, spiffe_ids, .. } = &member.details else { continue };
            ids.extend(spiffe_ids.iter().cloned());
            if !member.is_local && !available {
                continue;
            }
            let backing = self.backings.get(&member.key).and_then(|backing| backing.port(&port.section));
            let found = backing.map(|backing| backing.endpoints.endpoints.as_slice()).unwrap_or_default();
            endpoints.extend_from_slice(found);
            if member.is_local {
                local.extend_from_slice(found);
            }
        }
        (ids, endpoints, local)
    }
}

/// Names of the Secrets that the TLS of an external service uses.
pub(super) fn secrets_of(spec: &MeshExternalService) -> impl Iterator<Item = &str> {
    let verification = spec.tls.as_ref().filter(|tls| tls.enabled).and_then(|tls| tls.verification.as_ref());
    let sources = verification.into_iter().flat_map(|v| [&v.ca_cert, &v.client_cert, &v.client_key]).flatten();
    sources.filter_map(secret_name)
}

fn secret_name(source: &SecureDataSource) -> Option<&str> {
    match source.kind {
        DataSourceType::Secret => source.secret_ref.as_ref().map(|reference| reference.name.as_str()),
        _ => None,
    }
}
