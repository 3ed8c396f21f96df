//! Building blocks that generators and policies share: filters, clusters, listener metadata.

use std::collections::BTreeMap;

use super::internal_addresses::InternalAddresses;
use crate::envoy::cluster::Cluster;
use crate::envoy::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbPolicy};
use crate::envoy::core::{Address, Metadata, address::Address as Specifier};
use crate::envoy::endpoint::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use crate::envoy::hcm::HttpConnectionManager;
use crate::envoy::hcm::http_connection_manager::RouteSpecifier;
use crate::envoy::http::grpc_stats::v3::FilterConfig as GrpcStats;
use crate::envoy::http::router::v3::Router;
use crate::envoy::listener::{ListenerFilter, listener_filter};
use crate::envoy::route::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route::Action, route_action::ClusterSpecifier,
    route_match::PathSpecifier,
};
use crate::envoy::tcp_proxy::TcpProxy;
use crate::envoy::upstream_http::HttpProtocolOptions;
use crate::envoy::upstream_http::http_protocol_options::explicit_http_config::ProtocolConfig;
use crate::envoy::upstream_http::http_protocol_options::{ExplicitHttpConfig, UpstreamProtocolOptions};
use crate::envoy::{BoolValue, ads_source, core, pack, seconds, string_struct};
use crate::names::stat_name;
use crate::protocol::Protocol;
use crate::resource_set::http_filter_of;

/// Where Envoy keeps the tags of a listener that patches may select it by.
const TAGS_NAMESPACE: &str = "io.kuma.tags";

/// Listener metadata with these tags.
pub fn tags_metadata(tags: &BTreeMap<String, String>) -> Metadata {
    let fields = string_struct(tags.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    Metadata { filter_metadata: [(TAGS_NAMESPACE.to_owned(), fields)].into(), ..Default::default() }
}

/// Listener metadata for listeners that have no tags of their own: their name.
pub fn name_metadata(name: &str) -> Metadata {
    let fields = string_struct([("kuma.io/unified-name", name)]);
    Metadata { filter_metadata: [(TAGS_NAMESPACE.to_owned(), fields)].into(), ..Default::default() }
}

/// The listener filter that reads SNI and ALPN.
pub fn tls_inspector() -> ListenerFilter {
    use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
    ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(pack(&TlsInspector::default()))),
        ..Default::default()
    }
}

/// A TCP proxy to one cluster.
pub fn tcp_proxy(stat_prefix: &str, cluster: &str) -> TcpProxy {
    TcpProxy {
        stat_prefix: stat_name(stat_prefix),
        cluster_specifier: Some(crate::envoy::tcp_proxy::tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    }
}

/// An HTTP connection manager with inline routes and the router as its last filter.
pub fn http_connection_manager(
    stat_prefix: &str,
    internal: &InternalAddresses,
    routes: RouteConfiguration,
) -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: stat_name(stat_prefix),
        internal_address_config: Some(internal.to_message()),
        http_filters: vec![http_filter_of("envoy.filters.http.router", pack(&Router::default()))],
        route_specifier: Some(RouteSpecifier::RouteConfig(routes)),
        ..Default::default()
    }
}

/// Adds the filter that counts gRPC calls, before the router.
pub fn add_grpc_stats(hcm: &mut HttpConnectionManager) {
    let config = GrpcStats { emit_filter_state: true, ..Default::default() };
    crate::resource_set::add_http_filter_last(hcm, "envoy.filters.http.grpc_stats", pack(&config));
}

/// A route configuration of one virtual host for all domains.
pub fn route_configuration(name: &str, host: &str, routes: Vec<Route>) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        validate_clusters: Some(BoolValue { value: false }),
        virtual_hosts: vec![VirtualHost {
            name: host.to_owned(),
            domains: vec!["*".to_owned()],
            routes,
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The match of all paths that begin so.
pub fn prefix_match(prefix: &str) -> RouteMatch {
    RouteMatch { path_specifier: Some(PathSpecifier::Prefix(prefix.to_owned())), ..Default::default() }
}

/// A route to one cluster, without a timeout of its own.
pub fn cluster_route(matches: RouteMatch, cluster: &str) -> Route {
    let action = RouteAction {
        timeout: Some(seconds(0)),
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    Route { r#match: Some(matches), action: Some(Action::Route(action)), ..Default::default() }
}

/// One endpoint without weight.
pub fn endpoint_of(address: Address) -> LbEndpoint {
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint { address: Some(address), ..Default::default() })),
        ..Default::default()
    }
}

/// A cluster with one fixed endpoint.
pub fn static_cluster(name: &str, connect_timeout_s: i64, endpoint: Address) -> Cluster {
    Cluster {
        name: name.to_owned(),
        connect_timeout: Some(seconds(connect_timeout_s)),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: name.to_owned(),
            endpoints: vec![LocalityLbEndpoints { lb_endpoints: vec![endpoint_of(endpoint)], ..Default::default() }],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A cluster whose endpoint is the address that the connection was first made to.
pub fn original_dst_cluster(name: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        connect_timeout: Some(seconds(5)),
        lb_policy: LbPolicy::ClusterProvided.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst.into())),
        ..Default::default()
    }
}

/// A cluster whose endpoints come over the same stream.
pub fn eds_cluster(name: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(ads_source()), service_name: String::new() }),
        ..Default::default()
    }
}

/// Options of a cluster that speaks HTTP/1 or HTTP/2, whatever its clients speak; `None` for others.
pub fn http_options(protocol: Protocol) -> Option<Box<HttpProtocolOptions>> {
    let config = match protocol {
        Protocol::Http => ProtocolConfig::HttpProtocolOptions(core::Http1ProtocolOptions::default()),
        Protocol::Http2 | Protocol::Grpc => ProtocolConfig::Http2ProtocolOptions(core::Http2ProtocolOptions::default()),
        Protocol::Unknown | Protocol::Tcp | Protocol::Tls | Protocol::Mysql => return None,
    };
    Some(Box::new(HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(config),
        })),
        ..Default::default()
    }))
}

/// Source address of connections to the own workload, which the redirection rules let pass.
pub fn bind_to_passthrough_source(ipv6: bool) -> core::BindConfig {
    let address = if ipv6 { "::6" } else { "127.0.0.6" };
    match crate::envoy::socket_address(address, 0).address {
        Some(Specifier::SocketAddress(source)) => {
            core::BindConfig { source_address: Some(source), ..Default::default() }
        }
        Some(_) | None => core::BindConfig::default(),
    }
}
