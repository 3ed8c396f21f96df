//! The door of a zone to services outside of the mesh: ends the mesh's TLS, and begins the TLS that
//! the service asks for.

use std::net::IpAddr;

use super::blocks::{
    cluster_route, http_connection_manager, http_options, prefix_match, route_configuration, tcp_proxy,
};
use super::external_tls::{ExternalTls, ExternalTlsError};
use super::internal_addresses::InternalAddresses;
use super::outbound::{Endpoint, load_assignment};
use super::tls::{TlsIdentity, transport_socket};
use super::zone_listener::{ZoneListener, server_name_match};
use crate::envoy::cluster::Cluster;
use crate::envoy::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, TransportSocketMatch};
use crate::envoy::listener::FilterChain;
use crate::envoy::route::route::Action;
use crate::envoy::route::route_action::HostRewriteSpecifier;
use crate::envoy::{BoolValue, seconds};
use crate::names::{self, Kri, SniError, sni};
use crate::protocol::Protocol;
use crate::resource_set::{Chain, ClusterResource, NetworkFilter, Origin, ResourceSet};

/// A service outside of the mesh.
#[derive(Clone, Debug)]
pub struct ExternalDestination {
    /// Its identifier; the section is its port.
    pub kri: Kri,
    /// Its protocol.
    pub protocol: Protocol,
    /// Where it is, in its own order.
    pub endpoints: Vec<Endpoint>,
    /// TLS towards it; `None` for plaintext.
    pub tls: Option<ExternalTls>,
}

/// What all external services share on one egress.
#[derive(Clone, Copy, Debug)]
pub struct EgressTraits<'a> {
    /// The identity of the egress; clients must know whom they talk to.
    pub identity: &'a TlsIdentity,
    /// Which callers count as internal.
    pub internal: &'a InternalAddresses,
    /// Whether inbound listeners reuse their port.
    pub reuse_port: bool,
    /// Whether the egress itself has an IPv6 address.
    pub ipv6: bool,
    /// CAs of the system that the proxy runs on; empty when it knows none.
    pub system_ca_path: &'a str,
}

/// Why an external service is not offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// No server name can stand for it.
    #[error(transparent)]
    Sni(#[from] SniError),
    /// TLS towards it cannot be verified as it asks.
    #[error(transparent)]
    Tls(#[from] ExternalTlsError),
}

/// A service that is left out, and why.
pub type Refused = (Kri, EgressError);

/// The egress listener with a cluster and a chain for each service that has endpoints, and what had
/// to be left out. Nothing when no service is left.
pub fn generate(
    listener: &ZoneListener,
    traits: &EgressTraits<'_>,
    services: &[ExternalDestination],
) -> (ResourceSet, Vec<Refused>) {
    let mut set = ResourceSet::new();
    let mut refused = Vec::new();
    let mut chains = Vec::new();
    for service in services.iter().filter(|service| !service.endpoints.is_empty()) {
        match parts(service, traits) {
            Ok((cluster, chain)) => {
                set.add_cluster(cluster);
                chains.push(chain);
            }
            Err(error) => refused.push((service.kri.clone(), error)),
        }
    }
    if !chains.is_empty() {
        let name = names::zone_egress(&listener.section);
        set.add_listener(listener.resource(Origin::Egress, name, traits.reuse_port, chains));
    }
    (set, refused)
}

fn parts(service: &ExternalDestination, traits: &EgressTraits<'_>) -> Result<(ClusterResource, Chain), EgressError> {
    let server_name = sni(&service.kri)?;
    let cluster = cluster(service, traits)?;
    let name = service.kri.to_string();
    let chain = FilterChain {
        name: name.clone(),
        filter_chain_match: Some(server_name_match(&server_name)),
        transport_socket: Some(transport_socket(&traits.identity.downstream([], None))),
        ..Default::default()
    };
    Ok((cluster, Chain { chain, filters: vec![filter(&name, service.protocol, traits.internal)] }))
}

fn filter(name: &str, protocol: Protocol, internal: &InternalAddresses) -> NetworkFilter {
    if !protocol.is_http() {
        return NetworkFilter::TcpProxy(Box::new(tcp_proxy(name, name)));
    }
    let mut route = cluster_route(prefix_match("/"), name);
    if let Some(Action::Route(action)) = &mut route.action {
        action.host_rewrite_specifier = Some(HostRewriteSpecifier::AutoHostRewrite(BoolValue { value: true }));
    }
    let routes = route_configuration(name, name, vec![route]);
    NetworkFilter::Hcm(Box::new(http_connection_manager(name, internal, routes)))
}

fn cluster(service: &ExternalDestination, traits: &EgressTraits<'_>) -> Result<ClusterResource, ExternalTlsError> {
    let name = service.kri.to_string();
    let addresses_only = service.endpoints.iter().all(|endpoint| endpoint.address.parse::<IpAddr>().is_ok());
    let first = service.endpoints.first().map_or("", |endpoint| endpoint.address.as_str());
    let tls = service.tls.as_ref().map(|tls| tls.context(first, traits.system_ca_path)).transpose()?;
    let discovery = if addresses_only { DiscoveryType::Static } else { DiscoveryType::StrictDns };
    let family = match (addresses_only, traits.ipv6) {
        (true, _) | (false, true) => DnsLookupFamily::Auto,
        (false, false) => DnsLookupFamily::V4Only,
    };
    let cluster = Cluster {
        connect_timeout: Some(seconds(5)),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(discovery.into())),
        dns_lookup_family: family.into(),
        load_assignment: Some(load_assignment(&name, &service.endpoints)),
        transport_socket_matches: tls
            .map(|context| TransportSocketMatch {
                name: first.to_owned(),
                transport_socket: Some(transport_socket(&context)),
                ..Default::default()
            })
            .into_iter()
            .collect(),
        name,
        ..Default::default()
    };
    Ok(ClusterResource {
        origin: Origin::Egress,
        destination: Some(service.kri.clone()),
        protocol: service.protocol,
        cluster,
        http_options: http_options(service.protocol),
    })
}
