//! DataplaneInsight: what is known of a running proxy.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::proto_json::{self, ProtoTime, is_default, u64_text};
use super::registered::{SpecType, proto};
use crate::codec::Codec;

/// Spec of a DataplaneInsight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataplaneInsight {
    /// Connections of the proxy, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<DiscoverySubscription>,
    /// Its certificate.
    #[serde(rename = "mTLS", skip_serializing_if = "Option::is_none")]
    pub mtls: Option<DataplaneMtls>,
    /// What it said of itself at its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Arc<Map<String, Value>>>,
    /// What it made of its OpenTelemetry environment.
    #[serde(alias = "open_telemetry", skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<OpenTelemetryInsight>,
}

impl DataplaneInsight {
    /// Whether some subscription is connected.
    pub fn is_online(&self) -> bool {
        self.subscriptions.iter().any(DiscoverySubscription::is_online)
    }

    /// The newest subscription.
    pub fn last_subscription(&self) -> Option<&DiscoverySubscription> {
        self.subscriptions.last()
    }
}

/// One connection of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DiscoverySubscription {
    /// Its identifier.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The control plane instance.
    #[serde(alias = "control_plane_instance_id", skip_serializing_if = "String::is_empty")]
    pub control_plane_instance_id: String,
    /// When it was opened.
    #[serde(alias = "connect_time", skip_serializing_if = "Option::is_none")]
    pub connect_time: Option<ProtoTime>,
    /// When it was closed.
    #[serde(alias = "disconnect_time", skip_serializing_if = "Option::is_none")]
    pub disconnect_time: Option<ProtoTime>,
    /// What was exchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<DiscoverySubscriptionStatus>,
    /// What the proxy runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Grows while the stream lives.
    #[serde(deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub generation: u32,
}

impl DiscoverySubscription {
    /// Whether it is connected.
    pub fn is_online(&self) -> bool {
        self.connect_time.is_some() && self.disconnect_time.is_none()
    }
}

/// What a subscription exchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DiscoverySubscriptionStatus {
    /// When something was last exchanged.
    #[serde(alias = "last_update_time", skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<ProtoTime>,
    /// All types together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<DiscoveryServiceStats>,
    /// Clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cds: Option<DiscoveryServiceStats>,
    /// Endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eds: Option<DiscoveryServiceStats>,
    /// Listeners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lds: Option<DiscoveryServiceStats>,
    /// Routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rds: Option<DiscoveryServiceStats>,
}

/// Counters of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DiscoveryServiceStats {
    /// Responses that were sent.
    #[serde(alias = "responses_sent", with = "u64_text", skip_serializing_if = "is_default")]
    pub responses_sent: u64,
    /// Responses that were acknowledged.
    #[serde(alias = "responses_acknowledged", with = "u64_text", skip_serializing_if = "is_default")]
    pub responses_acknowledged: u64,
    /// Responses that were rejected.
    #[serde(alias = "responses_rejected", with = "u64_text", skip_serializing_if = "is_default")]
    pub responses_rejected: u64,
}

/// What a proxy runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Version {
    /// kuma-dp.
    #[serde(alias = "kuma_dp", skip_serializing_if = "Option::is_none")]
    pub kuma_dp: Option<KumaDpVersion>,
    /// Envoy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub envoy: Option<EnvoyVersion>,
    /// Other things, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dependencies: BTreeMap<String, String>,
}

/// A version of kuma-dp.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KumaDpVersion {
    /// Version number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Git tag.
    #[serde(alias = "git_tag", skip_serializing_if = "String::is_empty")]
    pub git_tag: String,
    /// Git commit.
    #[serde(alias = "git_commit", skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// When it was built.
    #[serde(alias = "build_date", skip_serializing_if = "String::is_empty")]
    pub build_date: String,
    /// Whether it goes with the control plane.
    #[serde(alias = "kuma_cp_compatible", skip_serializing_if = "is_default")]
    pub kuma_cp_compatible: bool,
}

/// A version of Envoy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyVersion {
    /// Version number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Full build tag.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub build: String,
    /// Whether it goes with kuma-dp.
    #[serde(alias = "kuma_dp_compatible", skip_serializing_if = "is_default")]
    pub kuma_dp_compatible: bool,
}

/// The certificate of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataplaneMtls {
    /// When it expires.
    #[serde(alias = "certificate_expiration_time", skip_serializing_if = "Option::is_none")]
    pub certificate_expiration_time: Option<ProtoTime>,
    /// When it was made.
    #[serde(alias = "last_certificate_regeneration", skip_serializing_if = "Option::is_none")]
    pub last_certificate_regeneration: Option<ProtoTime>,
    /// How many were made.
    #[serde(
        alias = "certificate_regenerations",
        deserialize_with = "proto_json::u32",
        skip_serializing_if = "is_default"
    )]
    pub certificate_regenerations: u32,
    /// Who issued it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issued_backend: String,
    /// Whom the proxy trusts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_backends: Vec<String>,
}

/// What a proxy made of its OpenTelemetry environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenTelemetryInsight {
    /// By backend.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<OpenTelemetryBackendInsight>,
}

/// One backend, by signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenTelemetryBackendInsight {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<OpenTelemetrySignal>,
    /// Logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<OpenTelemetrySignal>,
    /// Metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<OpenTelemetrySignal>,
}

/// One signal of a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenTelemetrySignal {
    /// Whether it is sent.
    #[serde(skip_serializing_if = "is_default")]
    pub enabled: bool,
    /// Whether the environment may define it.
    #[serde(alias = "env_allowed", skip_serializing_if = "is_default")]
    pub env_allowed: bool,
    /// Whether the environment says something of it.
    #[serde(alias = "env_input_present", skip_serializing_if = "is_default")]
    pub env_input_present: bool,
    /// What came of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// What the environment overrides.
    #[serde(alias = "override_kinds", skip_serializing_if = "Vec::is_empty")]
    pub override_kinds: Vec<String>,
    /// What is missing.
    #[serde(alias = "missing_fields", skip_serializing_if = "Vec::is_empty")]
    pub missing_fields: Vec<String>,
    /// Why it is not sent.
    #[serde(alias = "blocked_reasons", skip_serializing_if = "Vec::is_empty")]
    pub blocked_reasons: Vec<String>,
}

impl SpecType for DataplaneInsight {}

pub(crate) const CODEC: Codec = proto::<DataplaneInsight>();
