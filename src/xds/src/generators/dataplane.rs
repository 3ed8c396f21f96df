//! What a Dataplane asks the generators for.

use model::kinds::dataplane::{Dataplane, ListenerType};

use super::direct_access::PeerInbound;
use super::inbound::Inbound;
use super::zone_listener::ZoneListener;

/// A port as Envoy takes it; `None` for one that is out of range and so cannot be served.
fn port(number: u32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0)
}

/// Its inbounds, also those that take no traffic at the moment: their listeners stay.
pub fn inbounds(dataplane: &Dataplane) -> Vec<Inbound> {
    let Some(networking) = &dataplane.networking else { return Vec::new() };
    let inbound = |inbound: &model::kinds::dataplane::Inbound| {
        let address = networking.inbound_address(inbound);
        let workload = if inbound.service_address.is_empty() { address } else { &inbound.service_address };
        Some(Inbound {
            section: inbound.section_name(),
            address: address.to_owned(),
            port: port(inbound.port)?,
            workload_address: workload.to_owned(),
            workload_port: port(inbound.workload_port())?,
            protocol: inbound.parsed_protocol(),
        })
    };
    networking.inbound.iter().filter_map(inbound).collect()
}

/// Its zone listeners of a type, also those that are not ready.
pub fn zone_listeners(dataplane: &Dataplane, kind: ListenerType) -> Vec<ZoneListener> {
    let Some(networking) = &dataplane.networking else { return Vec::new() };
    let listener = |listener: &model::kinds::dataplane::Listener| {
        Some(ZoneListener {
            section: listener.section_name(),
            address: networking.listener_address(listener).to_owned(),
            port: port(listener.port)?,
        })
    };
    networking.listeners.iter().filter(|listener| listener.kind == kind).filter_map(listener).collect()
}

/// Its inbounds as others reach them directly; `service` is its label `kuma.io/service`.
pub fn peer_inbounds<'a>(dataplane: &'a Dataplane, service: Option<&'a str>) -> impl Iterator<Item = PeerInbound<'a>> {
    let networking = dataplane.networking.as_ref();
    networking.into_iter().flat_map(move |networking| {
        networking.inbound.iter().filter_map(move |inbound| {
            Some(PeerInbound { service, address: networking.inbound_address(inbound), port: port(inbound.port)? })
        })
    })
}
