//! Filter chains and clusters of destinations outside the mesh.

use ipnet::IpNet;
use model::kinds::mesh_passthrough::PassthroughProtocol;

use super::matchers::{Host, Matcher, Target};
use crate::envoy::UInt32Value;
use crate::envoy::core::{CidrRange, DataSource, data_source::Specifier};
use crate::envoy::listener::{FilterChain, FilterChainMatch};
use crate::envoy::route::{
    DirectResponseAction, Route, RouteAction, RouteConfiguration, VirtualHost, route::Action,
    route_action::ClusterSpecifier,
};
use crate::generators::blocks::{http_connection_manager, http_options, original_dst_cluster, prefix_match, tcp_proxy};
use crate::generators::internal_addresses::InternalAddresses;
use crate::names::stat_name;
use crate::protocol::Protocol;
use crate::resource_set::{Chain, ClusterResource, NetworkFilter, Origin};

const UNMATCHED: &str = "This response comes from Kuma Sidecar. No routes matched this domain - check configuration of your MeshPassthrough policy.\n";

/// The filter chain of a matcher.
pub(super) fn chain(matcher: &Matcher, internal: &InternalAddresses) -> Chain {
    let name = chain_name(matcher);
    let filter = if matcher.protocol.is_routed() {
        let routes = RouteConfiguration {
            name: name.clone(),
            virtual_hosts: virtual_hosts(matcher, &name),
            ..Default::default()
        };
        NetworkFilter::Hcm(Box::new(http_connection_manager(&name, internal, routes)))
    } else {
        NetworkFilter::TcpProxy(Box::new(tcp_proxy(&name, &name)))
    };
    let chain = FilterChain { filter_chain_match: Some(condition(matcher)), name, ..Default::default() };
    Chain { chain, filters: vec![filter] }
}

/// The clusters that its chain leads to.
pub(super) fn clusters(matcher: &Matcher) -> Vec<ClusterResource> {
    let names = match matcher.target {
        Target::Hosts => matcher.hosts.iter().map(|host| name_of(matcher, Some(&host.0))).collect(),
        _ => vec![chain_name(matcher)],
    };
    let speaks_http2 = matches!(matcher.protocol, PassthroughProtocol::Http2 | PassthroughProtocol::Grpc);
    let cluster = |name: String| {
        let mut message = original_dst_cluster(&name);
        message.alt_stat_name = stat_name(&name);
        let mut cluster = ClusterResource::new(Origin::MeshPassthrough, message);
        cluster.http_options = speaks_http2.then(|| http_options(Protocol::Http2)).flatten();
        cluster
    };
    names.into_iter().map(cluster).collect()
}

fn chain_name(matcher: &Matcher) -> String {
    match &matcher.target {
        Target::Hosts => name_of(matcher, None),
        Target::WildcardDomain(value) | Target::Domain(value) | Target::Cidr(_, value) | Target::Ip(_, value) => {
            name_of(matcher, Some(value))
        }
    }
}

fn name_of(matcher: &Matcher, value: Option<&str>) -> String {
    let protocol = match &matcher.protocol {
        PassthroughProtocol::Mysql => &PassthroughProtocol::Tcp,
        protocol => protocol,
    };
    let port = matcher.port.map_or_else(|| "*".to_owned(), |port| port.to_string());
    match value {
        Some(value) => format!("meshpassthrough_{protocol}_{value}_{port}"),
        None => format!("meshpassthrough_{protocol}_{port}"),
    }
}

fn condition(matcher: &Matcher) -> FilterChainMatch {
    let is_tls = matcher.protocol == PassthroughProtocol::Tls;
    let spoken: &[&str] = if matcher.protocol.is_routed() { &["http/1.1", "h2c"] } else { &[] };
    let (net, server) = match &matcher.target {
        Target::WildcardDomain(name) | Target::Domain(name) => (None, Some(name.clone())),
        Target::Hosts => (None, None),
        Target::Cidr(net, _) => (Some(net.trunc()), None),
        Target::Ip(ip, _) => (Some(IpNet::from(*ip)), None),
    };
    let range = |net: IpNet| CidrRange {
        address_prefix: net.addr().to_string(),
        prefix_len: Some(UInt32Value { value: u32::from(net.prefix_len()) }),
    };
    FilterChainMatch {
        transport_protocol: if is_tls { "tls" } else { "raw_buffer" }.to_owned(),
        application_protocols: spoken.iter().map(|&protocol| protocol.to_owned()).collect(),
        destination_port: matcher.port.map(|port| UInt32Value { value: u32::from(port) }),
        prefix_ranges: net.map(range).into_iter().collect(),
        server_names: server.into_iter().collect(),
        ..Default::default()
    }
}

fn virtual_hosts(matcher: &Matcher, chain: &str) -> Vec<VirtualHost> {
    let everywhere = || vec!["*".to_owned()];
    match &matcher.target {
        Target::Hosts => {
            let hosts = matcher.hosts.iter().map(|host| {
                virtual_host(&host.0, domains(host, matcher.port), route_to(&name_of(matcher, Some(&host.0))))
            });
            hosts.chain([virtual_host("no_match", everywhere(), refusal())]).collect()
        }
        Target::WildcardDomain(value) | Target::Domain(value) | Target::Cidr(_, value) | Target::Ip(_, value) => {
            vec![virtual_host(value, everywhere(), route_to(chain))]
        }
    }
}

fn virtual_host(name: &str, domains: Vec<String>, action: Action) -> VirtualHost {
    let route = Route { r#match: Some(prefix_match("/")), action: Some(action), ..Default::default() };
    VirtualHost { name: name.to_owned(), domains, routes: vec![route], ..Default::default() }
}

/// How requests may name a host: with and without the port.
fn domains(host: &Host, port: Option<u16>) -> Vec<String> {
    let name = &host.0;
    let with_port = match port {
        Some(port) => Some(format!("{name}:{port}")),
        // Envoy takes a wildcard at one end only.
        None if host.is_wildcard() => None,
        None => Some(format!("{name}:*")),
    };
    std::iter::once(name.clone()).chain(with_port).collect()
}

/// Without a timeout of its own, as Kuma has it: Envoy's default holds.
fn route_to(cluster: &str) -> Action {
    let cluster_specifier = Some(ClusterSpecifier::Cluster(cluster.to_owned()));
    Action::Route(RouteAction { cluster_specifier, ..Default::default() })
}

fn refusal() -> Action {
    let body = DataSource { specifier: Some(Specifier::InlineString(UNMATCHED.to_owned())), ..Default::default() };
    Action::DirectResponse(DirectResponseAction { status: 503, body: Some(body), ..Default::default() })
}
