//! MeshMultiZoneService: MeshServices of several zones under one name.

use serde::{Deserialize, Serialize};

use super::conditions::Condition;
use super::destination::{Address, HostnameGeneratorStatus, Vip};
use super::mesh_service::section_name;
use super::protocol::Protocol;
use super::registered::with_status;
use super::selector::LabelSelector;
use crate::codec::Codec;

/// Spec of a MeshMultiZoneService.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeshMultiZoneService {
    /// The services behind it.
    pub selector: MultiZoneSelector,
    /// Its ports.
    pub ports: Vec<MultiZonePort>,
}

impl MeshMultiZoneService {
    /// The port with this name or number.
    pub fn find_port(&self, section: &str) -> Option<&MultiZonePort> {
        self.ports.iter().find(|port| port.section_name() == section)
    }

    /// The port with this number.
    pub fn port_by_number(&self, number: u32) -> Option<&MultiZonePort> {
        self.ports.iter().find(|port| port.number() == number)
    }
}

/// The services behind a MeshMultiZoneService.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MultiZoneSelector {
    /// MeshServices by label.
    pub mesh_service: LabelSelector,
}

/// A port of a MeshMultiZoneService.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MultiZonePort {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its number.
    pub port: i32,
    /// Its protocol.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_protocol: String,
}

impl MultiZonePort {
    /// The name in identifiers: its name, else its number.
    pub fn section_name(&self) -> String {
        section_name(self.name.as_deref(), self.port)
    }

    /// Its number; 0 when it is out of range.
    pub fn number(&self) -> u32 {
        u32::try_from(self.port).unwrap_or(0)
    }

    /// Its protocol.
    pub fn protocol(&self) -> Protocol {
        Protocol::parse(&self.app_protocol)
    }
}

/// Status of a MeshMultiZoneService.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshMultiZoneServiceStatus {
    /// Its hostnames.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// Its virtual addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vips: Vec<Vip>,
    /// The services behind it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mesh_services: Vec<MatchedMeshService>,
    /// What generators made of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hostname_generators: Vec<HostnameGeneratorStatus>,
    /// Whether services were found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A service behind a MeshMultiZoneService.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct MatchedMeshService {
    /// Its display name.
    pub name: String,
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its zone.
    pub zone: String,
    /// Its mesh.
    pub mesh: String,
}

pub(crate) const CODEC: Codec = with_status::<MeshMultiZoneService, MeshMultiZoneServiceStatus>();
