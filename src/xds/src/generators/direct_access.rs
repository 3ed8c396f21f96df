//! Connections to other dataplanes by their own address: plain TCP, past all routing.

use std::collections::BTreeSet;

use super::blocks::{original_dst_cluster, tcp_proxy};
use crate::envoy::core::TrafficDirection;
use crate::envoy::listener::Listener;
use crate::envoy::{BoolValue, socket_address};
use crate::names::DIRECT_ACCESS;
use crate::protocol::Protocol;
use crate::resource_set::{Chain, ClusterResource, ListenerResource, NetworkFilter, Origin, ResourceSet};

/// An inbound of another dataplane.
#[derive(Clone, Copy, Debug)]
pub struct PeerInbound<'a> {
    /// Label `kuma.io/service` of the dataplane.
    pub service: Option<&'a str>,
    /// Address of the inbound.
    pub address: &'a str,
    /// Port of the inbound.
    pub port: u16,
}

/// Listeners for the inbounds of `peers` whose service is in `services` (`*`: all), except where an
/// outbound of the proxy has the address already. Nothing when no service is asked for.
pub fn generate<'a>(
    services: &[String],
    peers: impl IntoIterator<Item = PeerInbound<'a>>,
    taken: &BTreeSet<(&str, u16)>,
) -> ResourceSet {
    let mut set = ResourceSet::new();
    if services.is_empty() {
        return set;
    }
    let all = services.iter().any(|service| service == "*");
    let wanted = |service: Option<&str>| all || service.is_some_and(|s| services.iter().any(|w| w == s));
    for peer in peers {
        if wanted(peer.service) && !taken.contains(&(peer.address, peer.port)) {
            set.add_listener(listener(peer.address, peer.port));
        }
    }
    set.add_cluster(ClusterResource::new(Origin::DirectAccess, original_dst_cluster(DIRECT_ACCESS)));
    set
}

fn listener(address: &str, port: u16) -> ListenerResource {
    let name = format!("{DIRECT_ACCESS}_{address}:{port}");
    let chain = Chain::of(vec![NetworkFilter::TcpProxy(Box::new(tcp_proxy(&name, DIRECT_ACCESS)))]);
    let message = Listener {
        name,
        address: Some(socket_address(address, port)),
        traffic_direction: TrafficDirection::Outbound.into(),
        bind_to_port: Some(BoolValue { value: false }),
        ..Default::default()
    };
    ListenerResource::new(Origin::DirectAccess, Protocol::Tcp, message, vec![chain])
}
