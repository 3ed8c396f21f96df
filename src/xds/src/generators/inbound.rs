//! The proxy's own inbounds: a listener and a cluster for each.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::blocks::{
    add_grpc_stats, bind_to_passthrough_source, cluster_route, http_connection_manager, http_options, name_metadata,
    prefix_match, route_configuration, static_cluster, tags_metadata, tcp_proxy,
};
use super::internal_addresses::InternalAddresses;
use super::transparent_proxy::NO_SERVICE_PORT;
use crate::envoy::cluster::Cluster;
use crate::envoy::core::{HttpProtocolOptions, Metadata, TrafficDirection};
use crate::envoy::hcm::http_connection_manager::{ForwardClientCertDetails, SetCurrentClientCertDetails};
use crate::envoy::listener::Listener;
use crate::envoy::route::RouteConfiguration;
use crate::envoy::tcp_proxy::TcpProxy;
use crate::envoy::{BoolValue, seconds, socket_address};
use crate::names;
use crate::protocol::Protocol;
use crate::resource_set::{Chain, ClusterResource, ListenerResource, NetworkFilter, Origin, ResourceSet};

/// How long a connection may idle before MeshTimeout says otherwise, in seconds.
const IDLE_TIMEOUT_S: i64 = 7200;
/// How long a stream may idle before MeshTimeout says otherwise, in seconds.
const STREAM_IDLE_TIMEOUT_S: i64 = 3600;
/// How long a connection to the workload may take, in seconds.
const CONNECT_TIMEOUT_S: i64 = 10;
/// Internal header with the caller's tags; the workload must not see it.
const KUMA_TAGS_HEADER: &str = "x-kuma-tags";

/// One inbound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// Its name, or its port as text.
    pub section: String,
    /// Address on which the proxy listens.
    pub address: String,
    /// Port on which the proxy listens.
    pub port: u16,
    /// Address on which the workload listens.
    pub workload_address: String,
    /// Port on which the workload listens.
    pub workload_port: u16,
    /// Protocol of the workload.
    pub protocol: Protocol,
}

/// What all inbounds of a proxy share.
#[derive(Clone, Copy, Debug)]
pub struct InboundTraits<'a> {
    /// Labels of the Dataplane, the tags of its listeners.
    pub labels: &'a BTreeMap<String, String>,
    /// Whether connections are redirected to the proxy.
    pub transparent: bool,
    /// Whether inbound listeners reuse their port.
    pub reuse_port: bool,
    /// Which callers count as internal.
    pub internal: &'a InternalAddresses,
}

/// Listeners and clusters of all inbounds. Of two inbounds with one section the later wins.
pub fn generate(inbounds: &[Inbound], traits: &InboundTraits<'_>) -> ResourceSet {
    let mut set = ResourceSet::new();
    for inbound in inbounds.iter().filter(|inbound| inbound.port != NO_SERVICE_PORT) {
        set.add_cluster(cluster(inbound, traits.transparent));
        set.add_listener(listener(inbound, traits));
    }
    set
}

/// What of the listener of an inbound is the proxy's own: a message of nothing else.
pub fn own_of_listener(name: &str, inbound: &Inbound, traits: &InboundTraits<'_>) -> Listener {
    Listener {
        address: Some(socket_address(&inbound.address, inbound.port)),
        metadata: Some(tags(traits, name)),
        ..Default::default()
    }
}

/// The listener without that.
pub fn common_of_listener(listener: Listener) -> Listener {
    Listener { address: None, metadata: None, ..listener }
}

/// What of the cluster of an inbound is the proxy's own: a message of nothing else.
pub fn own_of_cluster(name: &str, inbound: &Inbound) -> Cluster {
    let endpoint = socket_address(&inbound.workload_address, inbound.workload_port);
    let load_assignment = static_cluster(name, CONNECT_TIMEOUT_S, endpoint).load_assignment;
    Cluster { load_assignment, ..Default::default() }
}

/// The cluster without that.
pub fn common_of_cluster(cluster: Cluster) -> Cluster {
    Cluster { load_assignment: None, ..cluster }
}

fn tags(traits: &InboundTraits<'_>, name: &str) -> Metadata {
    if traits.labels.is_empty() { name_metadata(name) } else { tags_metadata(traits.labels) }
}

fn cluster(inbound: &Inbound, transparent: bool) -> ClusterResource {
    let name = names::inbound(&inbound.section);
    let endpoint = socket_address(&inbound.workload_address, inbound.workload_port);
    let mut cluster = static_cluster(&name, CONNECT_TIMEOUT_S, endpoint);
    if transparent && !matches!(inbound.workload_address.as_str(), "127.0.0.1" | "::1") {
        let ipv6 = inbound.workload_address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
        cluster.upstream_bind_config = Some(bind_to_passthrough_source(ipv6));
    }
    let mut http_options = http_options(inbound.protocol);
    if let Some(options) = &mut http_options {
        options.common_http_protocol_options =
            Some(HttpProtocolOptions { idle_timeout: Some(seconds(IDLE_TIMEOUT_S)), ..Default::default() });
    }
    ClusterResource { origin: Origin::Inbound, destination: None, protocol: inbound.protocol, cluster, http_options }
}

fn listener(inbound: &Inbound, traits: &InboundTraits<'_>) -> ListenerResource {
    let name = names::inbound(&inbound.section);
    let chain = Chain::of(vec![filter(&name, inbound.protocol, traits.internal)]);
    let message = Listener {
        address: Some(socket_address(&inbound.address, inbound.port)),
        traffic_direction: TrafficDirection::Inbound.into(),
        enable_reuse_port: Some(BoolValue { value: traits.reuse_port }),
        bind_to_port: traits.transparent.then_some(BoolValue { value: false }),
        metadata: Some(tags(traits, &name)),
        stat_prefix: name.clone(),
        name,
        ..Default::default()
    };
    ListenerResource::new(Origin::Inbound, inbound.protocol, message, vec![chain])
}

fn filter(name: &str, protocol: Protocol, internal: &InternalAddresses) -> NetworkFilter {
    if !protocol.is_http() {
        let proxy = TcpProxy { idle_timeout: Some(seconds(IDLE_TIMEOUT_S)), ..tcp_proxy(name, name) };
        return NetworkFilter::TcpProxy(Box::new(proxy));
    }
    let routes = RouteConfiguration {
        request_headers_to_remove: vec![KUMA_TAGS_HEADER.to_owned()],
        ..route_configuration(name, name, vec![cluster_route(prefix_match("/"), name)])
    };
    let mut hcm = http_connection_manager(name, internal, routes);
    hcm.forward_client_cert_details = ForwardClientCertDetails::SanitizeSet.into();
    hcm.set_current_client_cert_details = Some(SetCurrentClientCertDetails { uri: true, ..Default::default() });
    hcm.common_http_protocol_options =
        Some(HttpProtocolOptions { idle_timeout: Some(seconds(IDLE_TIMEOUT_S)), ..Default::default() });
    hcm.stream_idle_timeout = Some(seconds(STREAM_IDLE_TIMEOUT_S));
    if protocol == Protocol::Grpc {
        add_grpc_stats(&mut hcm);
    }
    NetworkFilter::Hcm(Box::new(hcm))
}
