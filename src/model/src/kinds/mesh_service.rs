//! MeshService: a destination inside the mesh, and the dataplanes behind it.

use serde::{Deserialize, Serialize};

use super::destination::{Address, HostnameGeneratorStatus, Vip};
use super::int_or_string::IntOrString;
use super::proto_json::is_default;
use super::protocol::Protocol;
use super::registered::{SpecType, with_status};
use super::selector::LabelSelector;
use super::text_enum::text_enum;
use crate::codec::Codec;
use crate::codec::Document;
use crate::labels;
use crate::registry;
use crate::schema::{self, Schema};
use crate::sni;
use crate::violation::Violations;
use std::sync::LazyLock;

text_enum! {
    /// Whether a service has a healthy endpoint.
    pub enum ServiceState {
        /// At least one.
        Available = "Available",
        /// None.
        Unavailable = "Unavailable",
    }
}

#[allow(clippy::derivable_impls, reason = "the enum is made by a macro that other enums share, most without a default")]
impl Default for ServiceState {
    fn default() -> Self {
        Self::Unavailable
    }
}

/// Spec of a MeshService.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshService {
    /// Whether it has a healthy endpoint; kept by the control plane.
    pub state: ServiceState,
    /// The dataplanes behind it.
    pub selector: MeshServiceSelector,
    /// Its ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Who its dataplanes are; kept by the control plane.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    pub identities: Vec<ServiceIdentity>,
}

fn null_as_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(deserializer)?.unwrap_or_default())
}

impl MeshService {
    /// The port with this name or number.
    pub fn find_port(&self, section: &str) -> Option<&Port> {
        self.ports.iter().find(|port| port.section_name() == section)
    }

    /// The port with this number.
    pub fn port_by_number(&self, number: u32) -> Option<&Port> {
        self.ports.iter().find(|port| port.number() == number)
    }
}

/// The dataplanes behind a service; no selector means none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshServiceSelector {
    /// One dataplane by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataplane_ref: Option<DataplaneRef>,
    /// Dataplanes by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataplane_labels: Option<LabelSelector>,
}

/// A dataplane of the same mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataplaneRef {
    /// Its stored name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its number.
    pub port: i32,
    /// The inbound behind it: a port or a name. Absent matches nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<IntOrString>,
    /// Its protocol.
    #[serde(skip_serializing_if = "is_default")]
    pub app_protocol: String,
}

impl Port {
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

/// The name of a port in identifiers: its name, else its number.
pub(crate) fn section_name(name: Option<&str>, number: i32) -> String {
    match name {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => number.to_string(),
    }
}

text_enum! {
    /// Types of identities.
    pub enum ServiceIdentityType {
        /// A SPIFFE ID.
        SpiffeId = "SpiffeID",
    }
}

/// Who a dataplane of a service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceIdentity {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ServiceIdentityType,
    /// Its value.
    pub value: String,
}

/// Status of a MeshService.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshServiceStatus {
    /// Its hostnames.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// Its virtual addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vips: Vec<Vip>,
    /// Whether all of its dataplanes take mTLS.
    pub tls: MeshServiceTls,
    /// What generators made of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hostname_generators: Vec<HostnameGeneratorStatus>,
    /// Numbers of its dataplanes.
    pub dataplane_proxies: DataplaneProxies,
}

text_enum! {
    /// Whether mTLS can be used.
    pub enum TlsStatus {
        /// By all.
        Ready = "Ready",
        /// Not by all.
        NotReady = "NotReady",
    }
}

/// Whether mTLS can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeshServiceTls {
    /// Absent before the first evaluation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<TlsStatus>,
}

/// Numbers of dataplanes behind a service; zeros are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataplaneProxies {
    /// Connected to the control plane.
    #[serde(skip_serializing_if = "is_default")]
    pub connected: u32,
    /// With every port of the service ready.
    #[serde(skip_serializing_if = "is_default")]
    pub healthy: u32,
    /// All.
    #[serde(skip_serializing_if = "is_default")]
    pub total: u32,
}

impl SpecType for MeshService {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let label_selector = schema::object([("matchLabels", schema::map(schema::string()))]);
            let port = schema::object([
                ("name", schema::string()),
                ("port", schema::int32()),
                ("targetPort", schema::int_or_string()),
                ("appProtocol", schema::string().default_to("tcp")),
            ]);
            let identity =
                schema::object([("type", schema::choice(ServiceIdentityType::TEXTS)), ("value", schema::string())]);
            schema::object([
                ("state", schema::choice(ServiceState::TEXTS).default_to("Unavailable")),
                (
                    "selector",
                    schema::object([
                        ("dataplaneRef", schema::object([("name", schema::string())])),
                        ("dataplaneLabels", label_selector),
                    ]),
                ),
                ("ports", schema::array(port.required(&["port"]))),
                ("identities", schema::array(identity.required(&["type", "value"]))),
            ])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        for (i, port) in self.ports.iter().enumerate() {
            let known = matches!(port.protocol(), Protocol::Grpc | Protocol::Http | Protocol::Http2 | Protocol::Tcp);
            if !port.app_protocol.is_empty() && !known {
                faults.add(format!("spec.ports[{i}].appProtocol"), APP_PROTOCOL);
            }
        }
        if self.selector.dataplane_ref.is_some() && self.selector.dataplane_labels.is_some() {
            faults.add("spec.selector", "must specify only one of: dataplaneRef or dataplaneLabels");
        }
    }

    fn warnings(&self, document: &Document<'_>) -> Vec<String> {
        let mut warnings = sni::warnings(registry::MESH_SERVICE, document);
        if self.selector.dataplane_ref.is_some() || self.selector.dataplane_labels.is_some() {
            return warnings;
        }
        let display_name = document.labels.get(labels::DISPLAY_NAME).map_or(document.name, String::as_str);
        warnings.insert(
            0,
            format!(
                "MeshService resource '{display_name}' has no selector, so it matches no data plane proxies. \
             Set 'spec.selector.dataplaneRef' or 'spec.selector.dataplaneLabels'. \
             The 'spec.selector.dataplaneTags' selector was removed, migrate it to 'dataplaneLabels'."
            ),
        );
        warnings
    }
}

pub(crate) const APP_PROTOCOL: &str = "appProtocol must be one of: grpc, http, http2, tcp";

pub(crate) const CODEC: Codec = with_status::<MeshService, MeshServiceStatus>();
