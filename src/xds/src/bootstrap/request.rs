//! The body of `POST /bootstrap`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::metadata::OtelEnvInventory;
use super::transparent_proxy::{TransparentProxyConfig, nullable};
use super::version::ProxyVersion;

/// What `kuma-dp` tells of itself when it asks for a bootstrap. Fields of other releases are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BootstrapRequest {
    /// Mesh of the proxy.
    #[serde(deserialize_with = "nullable")]
    pub mesh: String,
    /// Name of the Dataplane.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// `dataplane`, or empty.
    #[serde(deserialize_with = "nullable")]
    pub proxy_type: String,
    /// The token.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub dataplane_token: String,
    /// Where the token lies on the proxy's machine.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub dataplane_token_path: String,
    /// Text of the Dataplane that the proxy brings along, JSON or YAML.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub dataplane_resource: String,
    /// Versions of `kuma-dp` and Envoy.
    #[serde(deserialize_with = "nullable")]
    pub version: ProxyVersion,
    /// PEM of the CA by which the proxy verifies the control plane.
    #[serde(deserialize_with = "nullable")]
    pub ca_cert: String,
    /// Free pairs for the node metadata.
    #[serde(deserialize_with = "nullable")]
    pub dynamic_metadata: BTreeMap<String, String>,
    /// Which OpenTelemetry variables the sidecar has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otel_env: Option<OtelEnvInventory>,
    /// Port of the embedded DNS.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_zero")]
    pub dns_port: u32,
    /// Port on which readiness is reported.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_zero")]
    pub readiness_port: u32,
    /// Whether application probes are proxied. The key says the contrary of what it means.
    #[serde(
        rename = "appProbeProxyDisabled",
        deserialize_with = "nullable",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub app_probe_proxy_enabled: bool,
    /// Operating system of the proxy's machine.
    #[serde(deserialize_with = "nullable")]
    pub operating_system: String,
    /// Feature flags.
    #[serde(deserialize_with = "nullable")]
    pub features: Vec<String>,
    /// Limits of the proxy's machine; accepted, without effect.
    pub resources: Value,
    /// Directory of the unix sockets.
    #[serde(deserialize_with = "nullable")]
    pub workdir: String,
    /// TLS files of the Prometheus listener.
    #[serde(deserialize_with = "nullable")]
    pub metrics_resources: MetricsResources,
    /// The operating system's CA bundle.
    #[serde(deserialize_with = "nullable")]
    pub system_ca_path: String,
    /// Transparent-proxy configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataplane_config: Option<TransparentProxyConfig>,
    /// Whether the machine has IPv6.
    #[serde(deserialize_with = "nullable")]
    pub ipv6_enabled: bool,
    /// Where the SPIRE agent listens.
    #[serde(deserialize_with = "nullable")]
    pub spire_resources: SpireResources,
}

/// TLS files of the Prometheus listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MetricsResources {
    /// Certificate.
    #[serde(deserialize_with = "nullable")]
    pub cert_path: String,
    /// Key.
    #[serde(deserialize_with = "nullable")]
    pub key_path: String,
}

/// Where the SPIRE agent listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SpireResources {
    /// Its socket.
    #[serde(deserialize_with = "nullable")]
    pub socket_path: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
