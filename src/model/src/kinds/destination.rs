//! What MeshService, MeshExternalService and MeshMultiZoneService share in their statuses.

use serde::{Deserialize, Serialize};

use super::conditions::Condition;

/// Origin of addresses that a HostnameGenerator made.
pub const HOSTNAME_GENERATOR_ORIGIN: &str = "HostnameGenerator";

/// A hostname under which a destination is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Address {
    /// The hostname.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Who made it: `HostnameGenerator` or `Kubernetes`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// The generator that made it.
    pub hostname_generator_ref: HostnameGeneratorRef,
}

/// The name of a HostnameGenerator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostnameGeneratorRef {
    /// Its stored name.
    pub core_name: String,
}

/// What one generator made of a destination that it selects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostnameGeneratorStatus {
    /// The generator.
    pub hostname_generator_ref: HostnameGeneratorRef,
    /// Whether it made a hostname.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A virtual IP address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vip {
    /// The address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
}
