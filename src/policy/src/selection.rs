//! Which policies select a dataplane, and on which of its inbounds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::kinds::target_ref::RefKind;
use model::{Labels, Resource};
use serde::Deserialize;

use crate::frame::FrameError;
use crate::policy::{Origin, Policy, Role};
use crate::target_ref::includes;
use model::kri::display_name;

/// Where an inbound, or a listener of a zone proxy, accepts connections.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundKey {
    /// Its own address, or the dataplane's.
    pub address: Arc<str>,
    /// Its port.
    pub port: u32,
}

impl fmt::Display for InboundKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address, self.port)
    }
}

/// What policies look at in a dataplane; read once from the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    labels: Labels,
    zone_origin: bool,
    /// Inbounds and listeners, with their section names.
    inbounds: BTreeMap<InboundKey, Arc<str>>,
    is_delegated_gateway: bool,
}

#[derive(Deserialize)]
struct RawDataplane {
    #[serde(default)]
    networking: RawNetworking,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawNetworking {
    address: String,
    inbound: Vec<RawInbound>,
    listeners: Vec<RawInbound>,
    gateway: Option<RawGateway>,
}

#[derive(Deserialize)]
#[serde(default)]
struct RawGateway {
    #[serde(rename = "type")]
    ty: String,
}

impl Default for RawGateway {
    fn default() -> Self {
        Self { ty: "DELEGATED".to_owned() }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawInbound {
    address: String,
    port: u32,
    name: String,
}

impl Subject {
    /// Reads a Dataplane.
    ///
    /// # Errors
    /// When its spec has not the shape of one.
    pub fn read(dataplane: &Resource) -> Result<Self, FrameError> {
        let raw: RawDataplane = serde_json::from_str(dataplane.spec.json()).map_err(FrameError::new)?;
        let networking = raw.networking;
        let inbounds = networking.inbound.iter().chain(&networking.listeners).map(|inbound| {
            let address = if inbound.address.is_empty() { &networking.address } else { &inbound.address };
            let section = if inbound.name.is_empty() { inbound.port.to_string() } else { inbound.name.clone() };
            (InboundKey { address: address.as_str().into(), port: inbound.port }, section.into())
        });
        let mut labels = dataplane.meta.labels.clone();
        labels.insert("kuma.io/display-name".to_owned(), display_name(dataplane).to_owned());
        Ok(Self {
            labels,
            zone_origin: Origin::of(dataplane) == Origin::Zone,
            inbounds: inbounds.collect(),
            is_delegated_gateway: networking.gateway.is_some_and(|gateway| gateway.ty == "DELEGATED"),
        })
    }

    /// The inbounds and zone proxy listeners, with their section names.
    pub fn inbounds(&self) -> impl Iterator<Item = (&InboundKey, &str)> {
        self.inbounds.iter().map(|(key, section)| (key, &**section))
    }

    /// Whether any inbound has this section name; a delegated gateway has none, and counts as all.
    fn has_section(&self, section: &str) -> bool {
        self.is_delegated_gateway || self.inbounds.values().any(|name| **name == *section)
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// How a policy selects a dataplane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Not at all.
    None,
    /// The dataplane and all of its inbounds.
    All,
    /// The dataplane, and those of its inbounds that have this section name.
    Section(Arc<str>),
}

impl Selection {
    /// Whether the inbound with this section name is selected.
    pub fn covers(&self, section: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Section(name) => **name == *section,
        }
    }
}

/// Whether and how `policy` selects the dataplane.
///
/// A dataplane without any inbound is selected like every other, so that policies for its outgoing
/// traffic reach it (Kuma leaves it without any policy).
pub fn select(policy: &Policy, subject: &Subject) -> Selection {
    if !zone_allows(policy, subject) || !namespace_allows(policy, subject) {
        return Selection::None;
    }
    let target = &policy.frame.target_ref;
    match target.kind {
        RefKind::Mesh => Selection::All,
        RefKind::Dataplane => match (&target.labels, target.section()) {
            (Some(wanted), _) if !includes(&subject.labels, wanted) => Selection::None,
            (_, None) => Selection::All,
            (_, Some(section)) if subject.has_section(section) => Selection::Section(section.into()),
            (_, Some(_)) => Selection::None,
        },
        RefKind::MeshService
        | RefKind::MeshExternalService
        | RefKind::MeshMultiZoneService
        | RefKind::MeshHttpRoute
        | RefKind::Unknown(_) => Selection::None,
    }
}

/// A policy of a zone is for that zone's dataplanes, unless it is a producer's.
fn zone_allows(policy: &Policy, subject: &Subject) -> bool {
    if policy.role == Role::Producer {
        return true;
    }
    // A dataplane that does not say that a zone wrote it is the control plane's own.
    if !subject.zone_origin {
        return true;
    }
    let policy_zone = policy.resource.label("kuma.io/zone").filter(|zone| !zone.is_empty());
    match (policy.origin, policy_zone) {
        (Origin::Zone, Some(zone)) => subject.label("kuma.io/zone").is_none_or(|own| own == zone),
        _ => true,
    }
}

/// A policy of consumers and workload owners is for the dataplanes of its own namespace.
fn namespace_allows(policy: &Policy, subject: &Subject) -> bool {
    match policy.role {
        Role::System | Role::Producer => true,
        Role::Consumer | Role::WorkloadOwner => {
            let namespace = policy.resource.label("k8s.kuma.io/namespace").filter(|namespace| !namespace.is_empty());
            namespace.is_some() && namespace == subject.label("k8s.kuma.io/namespace")
        }
    }
}
