//! What the listeners of zone ingresses and zone egresses have in common.

use super::blocks::tls_inspector;
use crate::envoy::core::TrafficDirection;
use crate::envoy::listener::{FilterChainMatch, Listener};
use crate::envoy::{BoolValue, socket_address};
use crate::protocol::Protocol;
use crate::resource_set::{Chain, ListenerResource, Origin};

/// A listener of a zone proxy, as its Dataplane gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneListener {
    /// Its name, or its port as text.
    pub section: String,
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
}

impl ZoneListener {
    /// The listener under `name`; it tells destinations apart by the server name that clients ask for.
    pub(super) fn resource(
        &self,
        origin: Origin,
        name: String,
        reuse_port: bool,
        chains: Vec<Chain>,
    ) -> ListenerResource {
        let message = Listener {
            address: Some(socket_address(&self.address, self.port)),
            traffic_direction: TrafficDirection::Inbound.into(),
            enable_reuse_port: Some(BoolValue { value: reuse_port }),
            listener_filters: vec![tls_inspector()],
            stat_prefix: name.clone(),
            name,
            ..Default::default()
        };
        ListenerResource::new(origin, Protocol::Unknown, message, chains)
    }
}

/// Matches TLS connections that ask for this server.
pub(super) fn server_name_match(server_name: &str) -> FilterChainMatch {
    FilterChainMatch {
        transport_protocol: "tls".to_owned(),
        server_names: vec![server_name.to_owned()],
        ..Default::default()
    }
}
