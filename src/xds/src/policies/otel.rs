//! OpenTelemetry collectors: found by the labels of a MeshOpenTelemetryBackend, reached through a
//! socket of kuma-dp, or directly by proxies whose kuma-dp cannot do that.

use model::Labels;
use model::kinds::mesh_open_telemetry_backend::Env;
use model::kri::display_name;
use model::labels;
use serde::Deserialize;

use super::ProxyTraits;
use crate::bootstrap::Feature;
use crate::envoy::cluster::Cluster;
use crate::envoy::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily};
use crate::envoy::{pipe, socket_address};
use crate::generators::blocks::{http_options, static_cluster};
use crate::protocol::Protocol;
use crate::resource_set::{ClusterResource, Origin};

mod plan;

pub(crate) use plan::publish;

const HTTPS_PORT: u16 = 443;
const DEFAULT_PORT: u16 = 4317;
const CONNECT_TIMEOUT_S: i64 = 5;

/// A reference to a collector.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct BackendRef {
    pub(super) labels: Labels,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    endpoint: Option<Endpoint>,
    protocol: Option<String>,
    env: Option<Env>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Endpoint {
    address: Option<String>,
    port: Option<u16>,
    path: Option<String>,
}

/// A collector that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Collector {
    /// Display name of the backend.
    pub(super) name: String,
    /// Where it is.
    pub(super) address: String,
    /// Where the backend says that it is; `None` when it leaves that to the node.
    pub(super) stated_address: Option<String>,
    /// Its port.
    pub(super) port: u16,
    /// Beginning of the path of its HTTP API.
    pub(super) path: String,
    /// Whether it speaks HTTP instead of gRPC.
    pub(super) is_http: bool,
    /// What the environment of kuma-dp may say.
    pub(super) env: Option<Env>,
}

impl Collector {
    /// The oldest backend with these labels.
    pub(super) fn find(proxy: &ProxyTraits<'_>, reference: &BackendRef) -> Option<Self> {
        let candidates = proxy.otel_backends.iter().filter(|backend| {
            reference.labels.iter().all(|(key, value)| match key.as_str() {
                labels::DISPLAY_NAME => display_name(backend) == value,
                key => backend.label(key) == Some(value),
            })
        });
        let backend = candidates.min_by_key(|backend| (backend.meta.creation_time, backend.key.clone()))?;
        let spec: Spec = serde_json::from_str(backend.spec.json()).ok()?;
        let endpoint = spec.endpoint.unwrap_or_default();
        let local = || proxy.metadata.dynamic_metadata.get("HOST_IP").cloned();
        let stated_address = endpoint.address.filter(|address| !address.is_empty());
        let address = stated_address.clone().or_else(local);
        Some(Self {
            name: display_name(backend).to_owned(),
            address: address.unwrap_or_else(|| "127.0.0.1".to_owned()),
            stated_address,
            port: endpoint.port.unwrap_or(DEFAULT_PORT),
            path: endpoint.path.unwrap_or_default(),
            is_http: spec.protocol.as_deref() == Some("http"),
            env: spec.env,
        })
    }

    /// The cluster `name`, of `origin`: through kuma-dp where that is possible.
    pub(super) fn cluster(&self, name: &str, origin: Origin, proxy: &ProxyTraits<'_>) -> ClusterResource {
        let through_kuma_dp = is_piped(proxy);
        let message = if through_kuma_dp {
            static_cluster(name, CONNECT_TIMEOUT_S, pipe(&proxy.socket(&format!("kuma-otel-{}", self.name))))
        } else {
            collector_cluster(name, &self.address, self.port, proxy)
        };
        let mut cluster = ClusterResource::new(origin, message);
        if through_kuma_dp || !self.is_http {
            cluster.http_options = http_options(Protocol::Http2);
        }
        cluster
    }
}

/// Whether kuma-dp passes telemetry on.
pub(super) fn is_piped(proxy: &ProxyTraits<'_>) -> bool {
    proxy.metadata.has(Feature::OtelViaKumaDp)
}

/// A cluster of one collector, by address or by name.
pub(super) fn collector_cluster(name: &str, address: &str, port: u16, proxy: &ProxyTraits<'_>) -> Cluster {
    let mut cluster = static_cluster(name, CONNECT_TIMEOUT_S, socket_address(address, port));
    if address.parse::<std::net::IpAddr>().is_err() {
        cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::StrictDns.into()));
        let is_ipv6 = proxy.address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_ipv6());
        let family = if is_ipv6 { DnsLookupFamily::Auto } else { DnsLookupFamily::V4Only };
        cluster.dns_lookup_family = family.into();
    }
    cluster
}

/// A text as part of a system resource's name: what is not `[a-z0-9_-]` becomes `-`.
pub(super) fn clean_name(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    text.chars().map(|c| if allowed(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_length() {
        assert_eq!(clean_name("http://a.B:9411/x"), "http---a---9411-x");
    }
}
