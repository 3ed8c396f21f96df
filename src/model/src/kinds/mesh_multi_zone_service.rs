//! MeshMultiZoneService: MeshServices of several zones under one name.

use serde::{Deserialize, Serialize};

use super::conditions::Condition;
use super::destination::{Address, HostnameGeneratorStatus, Vip};
use super::mesh_service::APP_PROTOCOL;
use super::mesh_service::section_name;
use super::protocol::Protocol;
use super::registered::{SpecType, with_status};
use super::rules::MUST_NOT_BE_EMPTY;
use super::selector::LabelSelector;
use crate::codec::{Codec, Document};
use crate::registry;
use crate::schema::{self, Schema};
use crate::sni;
use crate::violation::Violations;
use std::sync::LazyLock;

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

impl SpecType for MeshMultiZoneService {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let port = schema::object([
                ("name", schema::string()),
                ("port", schema::int32()),
                ("appProtocol", schema::string().default_to("tcp")),
            ]);
            let mesh_service = schema::object([("matchLabels", schema::map(schema::string()))]);
            let selector = schema::object([("meshService", mesh_service)]).required(&["meshService"]);
            schema::object([("selector", selector), ("ports", schema::array(port.required(&["port"])).min_items(1))])
                .required(&["ports", "selector"])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        if self.selector.mesh_service.is_empty() {
            faults.add("spec.selector.meshService.matchLabels", "cannot be empty");
        }
        if self.ports.is_empty() {
            faults.add("spec.ports", "cannot be empty");
        }
        for (i, port) in self.ports.iter().enumerate() {
            if port.name.as_deref() == Some("") {
                faults.add(format!("spec.ports[{i}].name"), MUST_NOT_BE_EMPTY);
            }
            if !["grpc", "http", "http2", "tcp"].contains(&port.app_protocol.as_str()) {
                faults.add(format!("spec.ports[{i}].appProtocol"), APP_PROTOCOL);
            }
        }
    }

    fn warnings(&self, document: &Document<'_>) -> Vec<String> {
        sni::warnings(registry::MESH_MULTI_ZONE_SERVICE, document)
    }
}

pub(crate) const CODEC: Codec = with_status::<MeshMultiZoneService, MeshMultiZoneServiceStatus>();
