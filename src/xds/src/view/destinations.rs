//! The destinations of a mesh: its services, external services and multi-zone services.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::kinds::int_or_string::IntOrString;
use model::kinds::mesh_external_service::{MeshExternalService, MeshExternalServiceStatus};
use model::kinds::mesh_multi_zone_service::{MeshMultiZoneService, MeshMultiZoneServiceStatus};
use model::kinds::mesh_service::{MeshService, MeshServiceSelector, MeshServiceStatus, ServiceState, TlsStatus};
use model::{Key, Kind, Kri, Labels, Resource, registry};

use super::dataplanes::labels_of;
use super::label_index::SelectorIndex;
use crate::protocol::Protocol;

/// One port of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Its name, or its number as text.
    pub section: Arc<str>,
    /// Its protocol.
    pub protocol: Protocol,
    /// The inbound behind it; of MeshServices only.
    pub target: Option<IntOrString>,
}

/// One destination, read once: what proxies can see of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// Its key.
    pub key: Key,
    /// Its identifier, without section.
    pub kri: Kri,
    /// Its labels, the display name included.
    pub labels: Labels,
    /// Whether it was written in this zone.
    pub is_local: bool,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Its virtual addresses.
    pub vips: Vec<String>,
    /// Its hostnames.
    pub hostnames: Vec<String>,
    /// What only its kind has.
    pub details: Details,
}

/// What only one kind of destination has.
#[derive(Clone, Debug, PartialEq)]
pub enum Details {
    /// Of a MeshService.
    Service {
        /// The dataplanes behind it.
        selector: MeshServiceSelector,
        /// Whether all of its workloads take mTLS.
        tls_ready: bool,
        /// Whether any endpoint is healthy, where it was written.
        available: bool,
        /// Who its workloads are.
        spiffe_ids: Arc<BTreeSet<String>>,
    },
    /// Of a MeshExternalService: its spec.
    External(Arc<MeshExternalService>),
    /// Of a MeshMultiZoneService: the identifiers of the services behind it.
    MultiZone(Vec<Kri>),
}

impl Destination {
    /// Reads a resource.
    ///
    /// # Errors
    /// When its spec is not that of its kind.
    pub(super) fn read(resource: &Arc<Resource>) -> Result<Self, String> {
        let kind = resource.key.kind;
        let read = if kind == registry::MESH_SERVICE {
            service(resource)
        } else if kind == registry::MESH_EXTERNAL_SERVICE {
            external(resource)
        } else {
            multi_zone(resource)
        };
        let Parts { ports, vips, hostnames, details } =
            read.ok_or_else(|| format!("its spec is not that of a {kind}"))?;
        Ok(Self {
            key: resource.key.clone(),
            kri: Kri::of(resource),
            labels: labels_of(resource),
            is_local: matches!(resource.label("kuma.io/origin"), None | Some("" | "zone")),
            ports,
            vips: vips.into_iter().filter(|vip| !vip.is_empty()).collect(),
            hostnames,
            details,
        })
    }

    /// The port that a section means: its name, its number, or nothing when it is the only one.
    pub fn port(&self, section: &str) -> Option<&Port> {
        match self.ports.as_slice() {
            [only] if section.is_empty() || self.key.kind == registry::MESH_EXTERNAL_SERVICE => Some(only),
            ports => {
                let named = ports.iter().find(|port| *port.section == *section);
                named.or_else(|| ports.iter().find(|port| port.number.to_string() == section))
            }
        }
    }

    /// The identifier of one of its ports.
    pub fn port_kri(&self, port: &Port) -> Kri {
        Kri { section: Arc::clone(&port.section), ..self.kri.clone() }
    }
}

struct Parts {
    ports: Vec<Port>,
    vips: Vec<String>,
    hostnames: Vec<String>,
    details: Details,
}

/// The protocol of a port that may not name one.
pub(crate) fn protocol_or_tcp(name: &str) -> Protocol {
    if name.is_empty() { Protocol::Tcp } else { Protocol::parse(name) }
}

fn port(number: u32, section: String, protocol: &str, target: Option<IntOrString>) -> Option<Port> {
    let number = u16::try_from(number).ok().filter(|number| *number > 0)?;
    Some(Port { number, section: section.into(), protocol: protocol_or_tcp(protocol), target })
}

fn service(resource: &Resource) -> Option<Parts> {
    let spec = resource.spec::<MeshService>()?;
    let status = resource.status::<MeshServiceStatus>();
    let ports = spec.ports.iter();
    Some(Parts {
        ports: ports
            .filter_map(|p| port(p.number(), p.section_name(), &p.app_protocol, p.target_port.clone()))
            .collect(),
        vips: status.map(|s| s.vips.iter().map(|vip| vip.ip.clone()).collect()).unwrap_or_default(),
        hostnames: status.map(|s| s.addresses.iter().map(|a| a.hostname.clone()).collect()).unwrap_or_default(),
        details: Details::Service {
            selector: spec.selector.clone(),
            tls_ready: status.is_some_and(|s| s.tls.status == Some(TlsStatus::Ready)),
            available: spec.state == ServiceState::Available,
            spiffe_ids: Arc::new(spec.identities.iter().map(|identity| identity.value.clone()).collect()),
        },
    })
}

fn external(resource: &Resource) -> Option<Parts> {
    let spec = resource.spec.shared::<MeshExternalService>()?;
    let status = resource.status::<MeshExternalServiceStatus>();
    Some(Parts {
        ports: port(spec.matched.number(), spec.section_name(), &spec.matched.protocol, None).into_iter().collect(),
        vips: status.map(|s| s.vip.ip.clone()).into_iter().collect(),
        hostnames: status.map(|s| s.addresses.iter().map(|a| a.hostname.clone()).collect()).unwrap_or_default(),
        details: Details::External(spec),
    })
}

fn multi_zone(resource: &Resource) -> Option<Parts> {
    let spec = resource.spec::<MeshMultiZoneService>()?;
    let status = resource.status::<MeshMultiZoneServiceStatus>();
    let member = |member: &model::kinds::mesh_multi_zone_service::MatchedMeshService| Kri {
        kind: registry::MESH_SERVICE,
        mesh: member.mesh.as_str().into(),
        zone: member.zone.as_str().into(),
        namespace: member.namespace.as_str().into(),
        name: member.name.as_str().into(),
        section: "".into(),
    };
    Some(Parts {
        ports: spec.ports.iter().filter_map(|p| port(p.number(), p.section_name(), &p.app_protocol, None)).collect(),
        vips: status.map(|s| s.vips.iter().map(|vip| vip.ip.clone()).collect()).unwrap_or_default(),
        hostnames: status.map(|s| s.addresses.iter().map(|a| a.hostname.clone()).collect()).unwrap_or_default(),
        details: Details::MultiZone(status.iter().flat_map(|s| &s.mesh_services).map(member).collect()),
    })
}

/// All destinations of a mesh with their indexes.
#[derive(Clone, Debug, Default)]
pub(super) struct Destinations {
    by_key: OrdMap<Key, Arc<Destination>>,
    by_kri: OrdMap<Kri, OrdSet<Key>>,
    /// Local services by the labels of the dataplanes behind them.
    by_selector: SelectorIndex<Key>,
    /// Local services by the one dataplane behind them.
    by_dataplane: OrdMap<Arc<str>, OrdSet<Key>>,
    /// Services of other zones, by zone.
    remote: OrdMap<Arc<str>, OrdSet<Key>>,
    /// Multi-zone services by the services behind them.
    by_member: OrdMap<Kri, OrdSet<Key>>,
}

impl Destinations {
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Destination>> {
        self.by_key.get(key)
    }

    /// The destination with this identifier; the section does not count.
    pub(super) fn by_kri(&self, kri: &Kri) -> Option<&Arc<Destination>> {
        let keys = if kri.section.is_empty() { self.by_kri.get(kri) } else { self.by_kri.get(&kri.with_section("")) };
        keys?.get_min().and_then(|key| self.by_key.get(key))
    }

    /// All of a kind, by name.
    pub(super) fn of_kind<'a>(
        &'a self,
        mesh: &str,
        kind: Kind,
    ) -> impl Iterator<Item = &'a Arc<Destination>> + use<'a> {
        let start = Key::new(kind, mesh, "");
        self.by_key.range(start..).map(|(_, destination)| destination).take_while(move |d| d.key.kind == kind)
    }

    pub(super) fn put(&mut self, destination: Arc<Destination>) {
        self.remove(&destination.key);
        let key = &destination.key;
        self.by_kri.entry(destination.kri.clone()).or_default().insert(key.clone());
        match &destination.details {
            Details::Service { selector, .. } if destination.is_local => {
                if let Some(reference) = selector.dataplane_ref.as_ref().filter(|r| !r.name.is_empty()) {
                    self.by_dataplane.entry(reference.name.as_str().into()).or_default().insert(key.clone());
                }
                if let Some(labels) = &selector.dataplane_labels {
                    self.by_selector.insert(key, labels.match_labels.as_ref().unwrap_or(&Labels::new()));
                }
            }
            Details::Service { .. } => {
                self.remote.entry(Arc::clone(&destination.kri.zone)).or_default().insert(key.clone());
            }
            Details::External(_) => {}
            Details::MultiZone(members) => {
                for member in members {
                    self.by_member.entry(member.clone()).or_default().insert(key.clone());
                }
            }
        }
        self.by_key.insert(key.clone(), destination);
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Arc<Destination>> {
        let gone = self.by_key.remove(key)?;
        forget(&mut self.by_kri, &gone.kri, key);
        match &gone.details {
            Details::Service { selector, .. } if gone.is_local => {
                if let Some(reference) = &selector.dataplane_ref {
                    forget(&mut self.by_dataplane, &Arc::from(reference.name.as_str()), key);
                }
                if let Some(labels) = &selector.dataplane_labels {
                    self.by_selector.remove(key, labels.match_labels.as_ref().unwrap_or(&Labels::new()));
                }
            }
            Details::Service { .. } => forget(&mut self.remote, &gone.kri.zone, key),
            Details::External(_) => {}
            Details::MultiZone(members) => members.iter().for_each(|member| forget(&mut self.by_member, member, key)),
        }
        Some(gone)
    }

    /// Local services that may select a dataplane of this name and these labels.
    pub(super) fn candidates<'a>(&'a self, name: &str, labels: &'a Labels) -> impl Iterator<Item = &'a Key> {
        self.by_selector.candidates(labels).chain(self.by_dataplane.get(name).into_iter().flatten())
    }

    /// Services of another zone.
    pub(super) fn of_zone(&self, zone: &str) -> impl Iterator<Item = &Key> {
        self.remote.get(zone).into_iter().flatten()
    }

    /// Services of all other zones.
    pub(super) fn remote(&self) -> impl Iterator<Item = &Key> {
        self.remote.values().flatten()
    }

    /// Multi-zone services that a service stands behind.
    pub(super) fn with_member(&self, member: &Kri) -> impl Iterator<Item = &Key> {
        self.by_member.get(member).into_iter().flatten()
    }
}

fn forget<I: Ord + Clone>(index: &mut OrdMap<I, OrdSet<Key>>, at: &I, key: &Key) {
    let Some(keys) = index.get_mut(at) else { return };
    keys.remove(key);
    if keys.is_empty() {
        index.remove(at);
    }
}
