//! Tests of the resource set.

use super::*;
use crate::envoy::hcm::HttpConnectionManager;
use crate::envoy::tcp_proxy::TcpProxy;
use crate::envoy::{Any, socket_address};
use crate::protocol::Protocol;

fn listener(name: &str, origin: Origin, chains: Vec<Chain>) -> ListenerResource {
    let message = Listener {
        name: name.to_owned(),
        address: Some(socket_address("10.0.0.1", 80)),
        traffic_direction: crate::envoy::core::TrafficDirection::Inbound.into(),
        ..Default::default()
    };
    ListenerResource::new(origin, Protocol::Http, message, chains)
}

fn chain() -> Chain {
    Chain::of(vec![
        NetworkFilter::other("custom", Any { type_url: "x/y".to_owned(), value: vec![1] }),
        NetworkFilter::Hcm(Box::new(HttpConnectionManager { stat_prefix: "s".to_owned(), ..Default::default() })),
        NetworkFilter::TcpProxy(Box::new(TcpProxy { stat_prefix: "t".to_owned(), ..Default::default() })),
    ])
}

#[test]
fn a_later_resource_of_the_same_name_replaces_the_earlier() {
    let mut set = ResourceSet::new();
    set.add_listener(listener("a", Origin::Inbound, vec![chain()]));
    set.add_listener(listener("a", Origin::Outbound, vec![]));
    let messages = set.finish();
    assert_eq!(messages.listeners.len(), 1);
    assert!(messages.listeners[0].filter_chains.is_empty());
}

#[test]
fn packing_and_unpacking_give_the_same_listener_back() {
    let typed = listener("a", Origin::Inbound, vec![chain()]);
    let packed = typed.clone().pack();
    assert_eq!(packed.filter_chains[0].filters.len(), 3);
    assert_eq!(ListenerResource::unpack(Origin::Inbound, None, Protocol::Http, packed), typed);
}

#[test]
fn http_options_of_a_cluster_are_packed_and_unpacked() {
    let mut typed = ClusterResource::new(Origin::Outbound, Cluster { name: "c".to_owned(), ..Default::default() });
    typed.http_options_mut().outlier_detection = None;
    let packed = typed.clone().pack();
    assert_eq!(packed.typed_extension_protocol_options.len(), 1);
    assert_eq!(ClusterResource::new(Origin::Outbound, packed), typed);
}

#[test]
fn edited_endpoints_leave_the_shared_ones_alone() {
    let shared = Arc::new(ClusterLoadAssignment { cluster_name: "c".to_owned(), ..Default::default() });
    let mut mine = EndpointsResource { origin: Origin::Outbound, destination: None, endpoints: Arc::clone(&shared) };
    mine.edit().endpoints.push(Default::default());
    assert!(shared.endpoints.is_empty());
}

#[test]
fn a_listener_is_found_by_address_and_port() {
    let mut set = ResourceSet::new();
    set.add_listener(listener("a", Origin::Inbound, vec![]));
    assert!(set.listener_at_mut("10.0.0.1", 80).is_some());
    assert!(set.listener_at_mut("10.0.0.1", 81).is_none());
}

#[test]
fn the_router_stays_the_last_http_filter() {
    let mut hcm = HttpConnectionManager::default();
    for name in ["envoy.filters.http.router", "b"] {
        add_http_filter_last(&mut hcm, name, Any::default());
    }
    add_http_filter_first(&mut hcm, "a", Any::default());
    let names: Vec<_> = hcm.http_filters.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "envoy.filters.http.router"]);
}

#[test]
fn origins_are_read_back_from_their_names() {
    for origin in Origin::ALL {
        assert_eq!(Origin::parse(origin.as_str()), Some(*origin));
    }
}
