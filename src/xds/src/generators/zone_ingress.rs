//! The door of a zone for other zones: passes TLS through to the service that the server name stands
//! for. Nothing is decrypted and no identity is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::blocks::{eds_cluster, tcp_proxy};
use super::zone_listener::{ZoneListener, server_name_match};
use crate::envoy::cluster::Cluster;
use crate::envoy::endpoint::ClusterLoadAssignment;
use crate::envoy::listener::FilterChain;
use crate::envoy::seconds;
use crate::names::{self, Kri, sni};
use crate::resource_set::{Chain, ClusterResource, EndpointsResource, NetworkFilter, Origin, ResourceSet};

/// A service port that other zones may call.
#[derive(Clone, Debug)]
pub struct IngressDestination {
    /// Its identifier.
    pub kri: Kri,
    /// Its endpoints within the zone.
    pub endpoints: Arc<ClusterLoadAssignment>,
}

/// The ingress listener with its clusters; nothing when there is no destination. Of two destinations
/// with one server name the first counts; one that no server name can stand for is left out.
pub fn generate(listener: &ZoneListener, reuse_port: bool, destinations: &[IngressDestination]) -> ResourceSet {
    let mut set = ResourceSet::new();
    let mut server_names = BTreeSet::new();
    let mut chains = BTreeMap::new();
    for destination in destinations {
        let Ok(server_name) = sni(&destination.kri) else { continue };
        if !server_names.insert(server_name.clone()) {
            continue;
        }
        let name = destination.kri.to_string();
        let cluster = Cluster { connect_timeout: Some(seconds(5)), ..eds_cluster(&name) };
        set.add_cluster(ClusterResource::new(Origin::Ingress, cluster));
        set.add_endpoints(EndpointsResource {
            origin: Origin::Ingress,
            destination: None,
            endpoints: Arc::clone(&destination.endpoints),
        });
        let chain = Chain {
            chain: FilterChain { filter_chain_match: Some(server_name_match(&server_name)), ..Default::default() },
            filters: vec![NetworkFilter::TcpProxy(Box::new(tcp_proxy(&name, &name)))],
        };
        chains.insert(name, chain);
    }
    if !chains.is_empty() {
        let name = names::zone_ingress(&listener.section);
        set.add_listener(listener.resource(Origin::Ingress, name, reuse_port, chains.into_values().collect()));
    }
    set
}
