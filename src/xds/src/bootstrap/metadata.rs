//! Node metadata: what a running Envoy says of itself in the first request of a stream.
//!
//! It is written by the bootstrap, but whoever opens a stream can write anything, so parsing is
//! strict where a wrong shape could mean something else, and never panics.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::feature::Feature;
use super::transparent_proxy::{TransparentProxyConfig, nullable};
use super::version::ProxyVersion;

/// Longest metadata text that is kept of one field, in bytes; longer ones are refused.
const TEXT_LEN_MAX: usize = 1 << 20;

/// Metadata of a proxy that cannot be used: the stream must end with `InvalidArgument`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// A field has another JSON type than the bootstrap writes.
    #[error("node metadata {field}: expected {expected}")]
    Type {
        /// Key of the metadata.
        field: &'static str,
        /// What stands there otherwise.
        expected: &'static str,
    },
    /// A nested document does not have its shape.
    #[error("node metadata {field}: {why}")]
    Shape {
        /// Key of the metadata.
        field: &'static str,
        /// The decoder's words.
        why: String,
    },
    /// A text is too long.
    #[error("node metadata {field}: expected at most {TEXT_LEN_MAX} bytes, got {len}")]
    TooLong {
        /// Key of the metadata.
        field: &'static str,
        /// Its length.
        len: usize,
    },
}

/// Which of the `OTEL_EXPORTER_OTLP*` variables of one signal the sidecar has; never their values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(clippy::struct_excessive_bools, reason = "a list of presences, as it is on the wire")]
pub struct OtelSignalEnv {
    /// `shared`, `traces`, `logs` or `metrics`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signal: String,
    /// An endpoint is set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub endpoint_present: bool,
    /// It is a URL.
    #[serde(rename = "endpointParsedAsURL", skip_serializing_if = "std::ops::Not::not")]
    pub endpoint_parsed_as_url: bool,
    /// It has a path.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub endpoint_has_path: bool,
    /// A protocol is set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub protocol_present: bool,
    /// Headers are set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub headers_present: bool,
    /// A timeout is set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub timeout_present: bool,
    /// A compression is set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub compression_present: bool,
    /// `insecure` is set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_present: bool,
    /// A CA is set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub certificate_present: bool,
    /// A client certificate is set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub client_certificate_present: bool,
    /// A client key is set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub client_key_present: bool,
    /// `unknown`, `grpc` or `http/protobuf`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub effective_protocol: String,
    /// `none`, `headers`, `tls` or `mtls`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub effective_auth_mode: String,
    /// Which shared settings the signal overrides.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub override_kinds: Vec<String>,
    /// What is wrong with the variables.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub validation_errors: Vec<String>,
}

/// The inventory of OpenTelemetry variables of the sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OtelEnvInventory {
    /// Whether `kuma-dp` forwards telemetry.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pipe_enabled: bool,
    /// Variables of all signals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<OtelSignalEnv>,
    /// Variables of traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<OtelSignalEnv>,
    /// Variables of logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<OtelSignalEnv>,
    /// Variables of metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<OtelSignalEnv>,
    /// What is wrong with the variables.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub validation_errors: Vec<String>,
}

/// What a proxy says of itself; fixed for the life of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyMetadata {
    /// `dataplane`, or empty; anything else must be refused on connect.
    pub proxy_type: String,
    /// Text of the Dataplane that the proxy brings along (JSON), to be registered.
    pub dataplane_resource: Option<String>,
    /// Port of Envoy's admin; 0: there is none.
    pub admin_port: u32,
    /// Address of Envoy's admin, as the bootstrap gave it.
    pub admin_address: String,
    /// Unix socket of Envoy's admin, empty when it listens on TCP.
    pub admin_socket_path: String,
    /// Port on which `kuma-dp` reports readiness; 0: unknown.
    pub readiness_port: u32,
    /// Port of the embedded DNS; 0: off.
    pub dns_port: u32,
    /// Whether `kuma-dp` proxies application probes.
    pub app_probe_proxy_enabled: bool,
    /// Versions, when sent.
    pub version: Option<ProxyVersion>,
    /// Feature flags, known and unknown.
    pub features: BTreeSet<String>,
    /// Directory of all unix sockets of the proxy.
    pub work_dir: String,
    /// Certificate of the Prometheus listener.
    pub metrics_cert_path: String,
    /// Key of the Prometheus listener.
    pub metrics_key_path: String,
    /// The operating system's CA bundle.
    pub system_ca_path: String,
    /// Whether the machine has IPv6; true when not said.
    pub ipv6_enabled: bool,
    /// Socket of the SPIRE agent, empty for the control plane's default.
    pub spire_socket_path: String,
    /// The transparent-proxy configuration; counts only with [`Feature::TransparentProxyInMetadata`].
    pub transparent_proxy: Option<TransparentProxyConfig>,
    /// Which OpenTelemetry variables the sidecar has.
    pub otel_env_inventory: Option<OtelEnvInventory>,
    /// Free pairs, `HOST_IP` among them.
    pub dynamic_metadata: BTreeMap<String, String>,
}

impl Default for ProxyMetadata {
    fn default() -> Self {
        Self {
            proxy_type: String::new(),
            dataplane_resource: None,
            admin_port: 0,
            admin_address: String::new(),
            admin_socket_path: String::new(),
            readiness_port: 0,
            dns_port: 0,
            app_probe_proxy_enabled: false,
            version: None,
            features: BTreeSet::new(),
            work_dir: String::new(),
            metrics_cert_path: String::new(),
            metrics_key_path: String::new(),
            system_ca_path: String::new(),
            ipv6_enabled: true,
            spire_socket_path: String::new(),
            transparent_proxy: None,
            otel_env_inventory: None,
            dynamic_metadata: BTreeMap::new(),
        }
    }
}

impl ProxyMetadata {
    /// Parses the metadata of an xDS node, its `Struct` given as JSON (`null` when there is none).
    ///
    /// # Errors
    /// When a field has another type than the bootstrap writes. Unparsable ports count as 0, as
    /// Kuma has it.
    pub fn parse(metadata: &Value) -> Result<Self, MetadataError> {
        let empty = Map::new();
        let fields = match metadata {
            Value::Null => &empty,
            Value::Object(fields) => fields,
            _ => return Err(MetadataError::Type { field: "", expected: "an object" }),
        };
        let fields = Fields(fields);
        let mut parsed = Self {
            proxy_type: fields.text("dataplane.proxyType")?,
            dataplane_resource: Some(fields.text("dataplane.resource")?).filter(|text| !text.is_empty()),
            admin_port: fields.port("dataplane.admin.port")?,
            admin_address: fields.text("dataplane.admin.address")?,
            admin_socket_path: fields.text("dataplane.admin.socketPath")?,
            readiness_port: fields.port("dataplane.readinessReporter.port")?,
            dns_port: fields.port("dataplane.dns.port")?,
            app_probe_proxy_enabled: fields.text("dataplane.appProbeProxy.enabled")? == "true",
            version: fields.document("version")?,
            features: fields.document::<Vec<String>>("features")?.unwrap_or_default().into_iter().collect(),
            work_dir: fields.text("workdir")?,
            metrics_cert_path: fields.text("metricsCertPath")?,
            metrics_key_path: fields.text("metricsKeyPath")?,
            system_ca_path: fields.text("systemCaPath")?,
            ipv6_enabled: fields.document("ipv6Enabled")?.unwrap_or(true),
            spire_socket_path: fields.text("spireAgent.socketPath")?,
            transparent_proxy: fields.document("transparentProxy")?,
            otel_env_inventory: fields.document("otelEnvInventory")?,
            dynamic_metadata: fields.document("dynamicMetadata")?.unwrap_or_default(),
        };
        parsed.move_dependencies();
        Ok(parsed)
    }

    /// Whether the proxy announced a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.features.contains(feature.flag())
    }

    /// The transparent-proxy configuration in force, given the one that the Dataplane's own spec
    /// describes (all off when it describes none).
    pub fn effective_transparent_proxy(&self, of_dataplane: TransparentProxyConfig) -> TransparentProxyConfig {
        let mut config = if self.has(Feature::TransparentProxyInMetadata) {
            self.transparent_proxy.clone().unwrap_or_else(TransparentProxyConfig::builtin)
        } else {
            of_dataplane
        };
        config.redirect.dns.enabled = self.dns_port > 0;
        config.redirect.dns.port = u16::try_from(self.dns_port).unwrap_or(0);
        config
    }

    /// Pairs named `version.dependencies.*` belong to the versions, when these list dependencies.
    fn move_dependencies(&mut self) {
        const PREFIX: &str = "version.dependencies.";
        let Some(version) = self.version.as_mut().filter(|version| !version.dependencies.is_empty()) else { return };
        self.dynamic_metadata.retain(|key, value| match key.strip_prefix(PREFIX) {
            Some(name) => {
                version.dependencies.insert(name.to_owned(), std::mem::take(value));
                false
            }
            None => true,
        });
    }
}

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn text(&self, field: &'static str) -> Result<String, MetadataError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) if text.len() > TEXT_LEN_MAX => {
                Err(MetadataError::TooLong { field, len: text.len() })
            }
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(MetadataError::Type { field, expected: "a string" }),
        }
    }

    fn port(&self, field: &'static str) -> Result<u32, MetadataError> {
        Ok(self.text(field)?.parse().unwrap_or(0))
    }

    fn document<T: DeserializeOwned>(&self, field: &'static str) -> Result<Option<T>, MetadataError> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                T::deserialize(value).map(Some).map_err(|e| MetadataError::Shape { field, why: e.to_string() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_bootstrap_writes_is_read_back() {
        let metadata = ProxyMetadata::parse(&json!({
            "dataplane.admin.port": "9901",
            "dataplane.admin.address": "127.0.0.1",
            "dataplane.dns.port": "15053",
            "dataplane.proxyType": "dataplane",
            "features": ["feature-reuse-port", "feature-of-tomorrow"],
            "ipv6Enabled": false,
            "workdir": "/run/dp",
            "version": {"kumaDp": {"version": "3.0.0"}, "envoy": {"version": "1.39.0"}},
            "transparentProxy": {"ipFamilyMode": "ipv4", "redirect": {"inbound": {"enabled": true, "port": 15006.0}}},
            "dynamicMetadata": {"HOST_IP": "10.0.0.1"},
        }))
        .unwrap();
        assert_eq!((metadata.admin_port, metadata.dns_port, metadata.readiness_port), (9901, 15053, 0));
        assert!(metadata.has(Feature::ReusePort) && !metadata.has(Feature::Spire));
        assert!(!metadata.ipv6_enabled);
        let transparent_proxy = metadata.transparent_proxy.unwrap();
        assert_eq!(transparent_proxy.redirect.inbound, RedirectPort { enabled: true, port: 15006 });
        assert!(transparent_proxy.enabled("10.0.0.1") && !transparent_proxy.enabled("fd00::1"));
        assert_eq!(metadata.dynamic_metadata["HOST_IP"], "10.0.0.1");
    }

    use super::super::transparent_proxy::RedirectPort;

    #[test]
    fn absent_metadata_is_the_default() {
        assert_eq!(ProxyMetadata::parse(&Value::Null).unwrap(), ProxyMetadata::default());
        assert_eq!(ProxyMetadata::parse(&json!({})).unwrap(), ProxyMetadata::default());
        assert!(ProxyMetadata::default().ipv6_enabled);
    }

    #[test]
    fn a_port_that_is_none_counts_as_zero() {
        for text in ["", "x", "-1", "99999999999"] {
            let metadata = ProxyMetadata::parse(&json!({"dataplane.admin.port": text})).unwrap();
            assert_eq!(metadata.admin_port, 0, "{text}");
        }
    }

    #[test]
    fn malformed_metadata_is_refused() {
        for (document, message) in [
            (json!([]), "node metadata : expected an object"),
            (json!({"workdir": 1}), "node metadata workdir: expected a string"),
            (
                json!({"transparentProxy": {"redirect": {"inbound": {"port": 70000}}}}),
                "node metadata transparentProxy: expected a port, got 70000",
            ),
        ] {
            assert_eq!(ProxyMetadata::parse(&document).unwrap_err().to_string(), message);
        }
        for document in [json!({"version": "3.0.0"}), json!({"features": {}}), json!({"ipv6Enabled": "yes"})] {
            assert!(ProxyMetadata::parse(&document).is_err(), "{document}");
        }
        assert!(ProxyMetadata::parse(&json!({"version": {}})).is_ok(), "a version without kumaDp is no fault");
    }

    #[test]
    fn dependencies_move_to_the_versions_that_list_some() {
        let metadata = ProxyMetadata::parse(&json!({
            "version": {"dependencies": {"coredns": "1.0"}},
            "dynamicMetadata": {"version.dependencies.app": "2", "a": "b"},
        }))
        .unwrap();
        assert_eq!(metadata.version.unwrap().dependencies.len(), 2);
        assert_eq!(metadata.dynamic_metadata.len(), 1);
    }

    #[test]
    fn dns_follows_the_metadata_in_every_mode() {
        let mut metadata = ProxyMetadata { dns_port: 15053, ..ProxyMetadata::default() };
        let off = metadata.effective_transparent_proxy(TransparentProxyConfig::default());
        assert!(!off.enabled("10.0.0.1") && off.redirect.dns.enabled);
        metadata.features.insert(Feature::TransparentProxyInMetadata.flag().to_owned());
        metadata.dns_port = 0;
        let on = metadata.effective_transparent_proxy(TransparentProxyConfig::default());
        assert!(on.enabled("10.0.0.1") && !on.redirect.dns.enabled);
    }
}
