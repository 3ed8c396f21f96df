//! MeshMetric: who may read a proxy's metrics, and where they are sent.
//! Resource: Kuma `MeshMetric`. Adds: a listener and a cluster for each Prometheus backend, the same for
//! each OpenTelemetry backend of proxies whose kuma-dp cannot pass telemetry on, and the document from
//! which kuma-dp learns what to gather.

mod document;

use model::kinds::mesh_metric::{Conf, OtelBackend, Prometheus, PrometheusTlsMode};
use model::registry;

use super::otel::{BackendRef, Collector, clean_name, is_piped};
use super::{Edit, Policy, ProxyTraits};
use crate::bootstrap::Feature;
use crate::envoy::core::{DataSource, TrafficDirection, data_source::Specifier};
use crate::envoy::hcm::HttpConnectionManager;
use crate::envoy::listener::{FilterChainMatch, Listener};
use crate::envoy::route::{RouteAction, route::Action};
use crate::envoy::tls::{CommonTlsContext, DownstreamTlsContext, TlsCertificate};
use crate::envoy::{BoolValue, pipe, socket_address};
use crate::generators::blocks::{
    add_grpc_stats, cluster_route, http_connection_manager, prefix_match, route_configuration, static_cluster,
};
use crate::generators::dynamic_config::{self, Place};
use crate::generators::internal_addresses::InternalAddresses;
use crate::generators::tls::transport_socket;
use crate::protocol::Protocol;
use crate::resource_set::{Chain, ClusterResource, ListenerResource, NetworkFilter, Origin, ResourceSet};

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_METRIC, edit };

const DEFAULT_PORT: u16 = 5670;
const DEFAULT_PATH: &str = "/metrics";
const CONNECT_TIMEOUT_S: i64 = 5;

fn edit(edit: &mut Edit<'_>) {
    let Some(rules) = &edit.rules.proxy else { return };
    let Some(conf) = edit.faults.read::<Conf>(&rules.conf, rules.origin.last()) else { return };
    let backends = conf.backends.as_deref().unwrap_or_default();
    if backends.is_empty() {
        return;
    }
    let mut direct = Vec::new();
    for backend in backends {
        if let Some(prometheus) = &backend.prometheus {
            serve(prometheus, edit.proxy, edit.set);
        }
        if let Some(otel) = &backend.open_telemetry
            && !is_piped(edit.proxy)
            && let Some(collector) = find(edit.proxy, otel)
        {
            let socket = push(&collector, edit.proxy, edit.set);
            direct.push(document::Export::new(&collector.name, socket, otel));
        }
    }
    let body = document::body(&conf, direct, edit.proxy);
    let place = Place { work_dir: &edit.proxy.metadata.work_dir, ipv6: edit.proxy.metadata.ipv6_enabled };
    dynamic_config::add(edit.set, place, "meshmetric", body);
}

fn find(proxy: &ProxyTraits<'_>, otel: &OtelBackend) -> Option<Collector> {
    let reference = otel.backend_ref.as_ref()?;
    Collector::find(proxy, &BackendRef { labels: reference.labels.clone().unwrap_or_default() })
}

/// A listener from which Prometheus reads what kuma-dp gathers.
fn serve(conf: &Prometheus, proxy: &ProxyTraits<'_>, set: &mut ResourceSet) {
    let client = conf.client_id.as_deref().filter(|id| !id.is_empty()).unwrap_or("default-backend");
    let name = format!("system_meshmetric_prometheus_{}", clean_name(client));
    let hijacker = proxy.socket(&format!("kuma-mh-{}-{}", proxy.name, proxy.mesh));
    let cluster = static_cluster(&name, CONNECT_TIMEOUT_S, pipe(&hijacker));
    set.add_cluster(ClusterResource::new(Origin::Prometheus, cluster));
    let path = if conf.path.is_empty() { DEFAULT_PATH } else { &conf.path };
    let port = u16::try_from(conf.port).ok().filter(|port| *port > 0).unwrap_or(DEFAULT_PORT);
    let message = Listener {
        address: Some(socket_address(proxy.address, port)),
        traffic_direction: TrafficDirection::Inbound.into(),
        enable_reuse_port: Some(BoolValue { value: proxy.metadata.has(Feature::ReusePort) }),
        stat_prefix: name.clone(),
        name: name.clone(),
        ..Default::default()
    };
    let plain = Chain::of(vec![NetworkFilter::Hcm(Box::new(hcm(&name, path, Some("/meshmetric"), proxy)))]);
    let chains = secured(plain, conf, proxy);
    set.add_listener(ListenerResource::new(Origin::Prometheus, Protocol::Http, message, chains));
}

/// With the certificate that kuma-dp was given, where the conf asks for it.
fn secured(plain: Chain, conf: &Prometheus, proxy: &ProxyTraits<'_>) -> Vec<Chain> {
    let mode = conf.tls.as_ref().and_then(|tls| tls.mode.as_ref());
    let (cert, key) = (&proxy.metadata.metrics_cert_path, &proxy.metadata.metrics_key_path);
    if mode != Some(&PrometheusTlsMode::ProvidedTls) || cert.is_empty() || key.is_empty() {
        return vec![plain];
    }
    let file = |path: &str| DataSource { specifier: Some(Specifier::Filename(path.to_owned())), ..Default::default() };
    let certificate =
        TlsCertificate { certificate_chain: Some(file(cert)), private_key: Some(file(key)), ..Default::default() };
    let context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext { tls_certificates: vec![certificate], ..Default::default() }),
        ..Default::default()
    };
    let mut terminated = plain.clone();
    terminated.chain.filter_chain_match =
        Some(FilterChainMatch { transport_protocol: "tls".to_owned(), ..Default::default() });
    let mut tls = plain;
    tls.chain.transport_socket = Some(transport_socket(&context));
    vec![terminated, tls]
}

/// A listener of Envoy through which kuma-dp sends to a collector; returns its socket.
fn push(collector: &Collector, proxy: &ProxyTraits<'_>, set: &mut ResourceSet) -> String {
    let name = format!("system_meshmetric_otel_{}", clean_name(&collector.name));
    set.add_cluster(collector.cluster(&name, Origin::OpenTelemetry, proxy));
    let socket = proxy.socket(&format!("kuma-otel-{}", collector.name));
    let message =
        Listener { address: Some(pipe(&socket)), stat_prefix: name.clone(), name: name.clone(), ..Default::default() };
    let mut hcm = hcm(&name, "/", None, proxy);
    add_grpc_stats(&mut hcm);
    let chain = Chain::of(vec![NetworkFilter::Hcm(Box::new(hcm))]);
    set.add_listener(ListenerResource::new(Origin::OpenTelemetry, Protocol::Grpc, message, vec![chain]));
    socket
}

/// Requests under `path` go to the cluster of the same name.
fn hcm(name: &str, path: &str, rewrite: Option<&str>, proxy: &ProxyTraits<'_>) -> HttpConnectionManager {
    let mut route = cluster_route(prefix_match(path), name);
    if let Some(Action::Route(action)) = &mut route.action {
        let prefix_rewrite = rewrite.map(str::to_owned).unwrap_or_default();
        *action = RouteAction { timeout: None, prefix_rewrite, ..action.clone() };
    }
    let routes = route_configuration("", name, vec![route]);
    http_connection_manager(name, &InternalAddresses::loopback().for_proxy(proxy.metadata.ipv6_enabled), routes)
}

#[cfg(test)]
mod tests;
