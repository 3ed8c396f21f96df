//! Passthrough of redirected connections that match no inbound or outbound.

use std::collections::BTreeSet;

use super::blocks::{bind_to_passthrough_source, original_dst_cluster, tcp_proxy};
use crate::envoy::cluster::Cluster;
use crate::envoy::cluster::cluster::{ClusterDiscoveryType, DiscoveryType};
use crate::envoy::core::TrafficDirection;
use crate::envoy::listener::{FilterChain, FilterChainMatch, Listener};
use crate::envoy::{BoolValue, UInt32Value, seconds, socket_address};
use crate::names::{NO_DESTINATION_INBOUND, passthrough_inbound, passthrough_outbound};
use crate::protocol::Protocol;
use crate::resource_set::{Chain, ClusterResource, ListenerResource, NetworkFilter, Origin, ResourceSet};

/// Port of an inbound that stands for a workload without a service.
pub const NO_SERVICE_PORT: u16 = 49151;

/// The family of addresses that a passthrough serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    const fn version(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }

    const fn any_address(self) -> &'static str {
        match self {
            Self::V4 => "0.0.0.0",
            Self::V6 => "::",
        }
    }
}

/// What the generator needs to know.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Port to which inbound connections are redirected; 0 when they are not.
    pub redirect_port_inbound: u16,
    /// Port to which outbound connections are redirected; 0 when they are not.
    pub redirect_port_outbound: u16,
    /// Whether IPv6 is redirected as well.
    pub ipv6: bool,
    /// Whether inbound listeners reuse their port.
    pub reuse_port: bool,
    /// The only ports on which inbound connections pass; `None` when all do.
    pub strict_inbound_ports: Option<BTreeSet<u16>>,
}

/// The passthrough resources; none without outbound redirection.
pub fn generate(inputs: &Inputs) -> ResourceSet {
    let mut set = ResourceSet::new();
    if inputs.redirect_port_outbound == 0 {
        return set;
    }
    set.add_cluster(ClusterResource::new(Origin::Transparent, no_destination_cluster()));
    let families: &[IpFamily] = if inputs.ipv6 { &[IpFamily::V4, IpFamily::V6] } else { &[IpFamily::V4] };
    for &family in families {
        let outbound = original_dst_cluster(&passthrough_outbound(family.version()));
        let inbound = Cluster {
            upstream_bind_config: Some(bind_to_passthrough_source(family == IpFamily::V6)),
            ..original_dst_cluster(&passthrough_inbound(family.version()))
        };
        set.add_cluster(ClusterResource::new(Origin::Transparent, outbound));
        set.add_cluster(ClusterResource::new(Origin::Transparent, inbound));
        set.add_listener(outbound_listener(family, inputs.redirect_port_outbound));
        set.add_listener(inbound_listener(family, inputs));
    }
    set
}

fn no_destination_cluster() -> Cluster {
    Cluster {
        name: NO_DESTINATION_INBOUND.to_owned(),
        alt_stat_name: NO_DESTINATION_INBOUND.to_owned(),
        connect_timeout: Some(seconds(5)),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into())),
        ..Default::default()
    }
}

fn outbound_listener(family: IpFamily, port: u16) -> ListenerResource {
    let name = passthrough_outbound(family.version());
    let chain = Chain::of(vec![NetworkFilter::TcpProxy(Box::new(tcp_proxy(&name, &name)))]);
    let message = Listener {
        address: Some(socket_address(family.any_address(), port)),
        traffic_direction: TrafficDirection::Outbound.into(),
        use_original_dst: Some(BoolValue { value: true }),
        stat_prefix: name.clone(),
        name,
        ..Default::default()
    };
    ListenerResource::new(Origin::Transparent, Protocol::Tcp, message, vec![chain])
}

/// The inbound passthrough of one family: open, or restricted to the inputs' strict ports. A policy
/// that opens or closes it replaces the whole listener.
pub fn inbound_listener(family: IpFamily, inputs: &Inputs) -> ListenerResource {
    let name = passthrough_inbound(family.version());
    let to = |cluster: &str| vec![NetworkFilter::TcpProxy(Box::new(tcp_proxy(&name, cluster)))];
    let chains = match &inputs.strict_inbound_ports {
        None => vec![Chain::of(to(&name))],
        Some(ports) => ports
            .iter()
            .map(|&port| Chain {
                chain: FilterChain {
                    filter_chain_match: Some(FilterChainMatch {
                        destination_port: Some(UInt32Value { value: u32::from(port) }),
                        ..Default::default()
                    }),
                    ..Default::default()
                },
                filters: to(if port == NO_SERVICE_PORT { NO_DESTINATION_INBOUND } else { &name }),
            })
            .collect(),
    };
    let message = Listener {
        name: name.clone(),
        address: Some(socket_address(family.any_address(), inputs.redirect_port_inbound)),
        traffic_direction: TrafficDirection::Inbound.into(),
        use_original_dst: Some(BoolValue { value: true }),
        enable_reuse_port: Some(BoolValue { value: inputs.reuse_port }),
        stat_prefix: name.clone(),
        ..Default::default()
    };
    ListenerResource::new(Origin::Transparent, Protocol::Tcp, message, chains)
}
