//! Listeners, clusters and endpoints towards destinations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::registry::MESH_EXTERNAL_SERVICE;

use super::blocks::{
    add_grpc_stats, eds_cluster, endpoint_of, http_connection_manager, http_options, name_metadata,
    route_configuration, tcp_proxy,
};
use super::internal_addresses::InternalAddresses;
use super::tls::{TlsIdentity, transport_socket};
use crate::envoy::core::{HeaderValue, HeaderValueOption, Locality as EnvoyLocality, Metadata, TrafficDirection};
use crate::envoy::endpoint::{ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints};
use crate::envoy::listener::Listener;
use crate::envoy::route::Route;
use crate::envoy::tcp_proxy::{TcpProxy, tcp_proxy as tcp};
use crate::envoy::{BoolValue, UInt32Value, socket_address, string_struct};
use crate::names::{Kri, SniError, sni};
use crate::protocol::Protocol;
use crate::resource_set::{Chain, ClusterResource, EndpointsResource, ListenerResource, NetworkFilter, Origin};

/// Header that tells fault injection at the destination who calls.
const KUMA_TAGS_HEADER: &str = "x-kuma-tags";

/// One port of a destination, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationPort {
    /// Its identifier; the section is the port's name, or its number as text.
    pub kri: Kri,
    /// Its protocol.
    pub protocol: Protocol,
    /// The SPIFFE IDs that its workloads (or the zone egresses before it) bear; `None` when it does
    /// not terminate TLS.
    pub spiffe_ids: Option<Arc<BTreeSet<String>>>,
}

impl DestinationPort {
    /// Whether it lies outside of the mesh.
    pub fn is_external(&self) -> bool {
        self.kri.kind == MESH_EXTERNAL_SERVICE
    }
}

/// Where endpoints are.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// Their zone.
    pub zone: String,
    /// A part of the zone, empty for the whole.
    pub sub_zone: String,
    /// 0 is tried first.
    pub priority: u32,
}

/// One endpoint of a destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Its share of traffic.
    pub weight: u32,
    /// Its tags, which load balancing may select by.
    pub tags: BTreeMap<String, String>,
    /// Where it is; `None` when that is not known.
    pub locality: Option<Locality>,
}

/// A listener's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// Virtual address, or the address that the Dataplane gives.
    pub address: String,
    /// Port.
    pub port: u16,
    /// The destination port that it leads to.
    pub destination: Kri,
}

/// What all outbounds of a proxy share. Proxies with equal traits have equal outbounds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboundTraits {
    /// Whether listeners bind to their port, that is, whether traffic is not redirected to them.
    pub bind_to_port: bool,
    /// Which callers count as internal.
    pub internal: InternalAddresses,
    /// What the proxy says of itself in every request (`&k=v&` of its labels), where a fault
    /// injection in the mesh wants to know.
    pub kuma_tags: Option<String>,
}

/// The `x-kuma-tags` value of these labels.
pub fn kuma_tags(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("&{key}={value}&")).collect()
}

/// A share of the traffic of a route or listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Name of the cluster.
    pub cluster: String,
    /// Its weight.
    pub weight: u32,
    /// Whether the cluster is an external service's.
    pub external: bool,
}

/// The cluster of a destination port under `name` (which may give the port's number where the
/// destination's own identifier gives its name).
///
/// # Errors
/// When TLS is needed and the destination cannot be named in it: then there must be neither cluster
/// nor endpoints.
pub fn cluster(
    name: &Kri,
    destination: &DestinationPort,
    identity: Option<&TlsIdentity>,
) -> Result<ClusterResource, SniError> {
    let mut message = eds_cluster(&name.to_string());
    if let (Some(identity), Some(spiffe_ids)) = (identity, &destination.spiffe_ids) {
        let server = sni(&destination.kri)?;
        message.transport_socket = Some(transport_socket(&identity.upstream(&server, spiffe_ids)));
    }
    // Sidecars speak HTTP/2 to each other, whatever the workloads speak.
    let upstream = if destination.is_external() { destination.protocol } else { Protocol::Http2 };
    Ok(ClusterResource {
        origin: Origin::Outbound,
        destination: Some(destination.kri.clone()),
        protocol: destination.protocol,
        cluster: message,
        http_options: http_options(upstream),
    })
}

/// The endpoints of the cluster `name`.
pub fn endpoints(name: &Kri, destination: &Kri, endpoints: &[Endpoint]) -> EndpointsResource {
    EndpointsResource {
        origin: Origin::Outbound,
        destination: Some(destination.clone()),
        endpoints: Arc::new(load_assignment(&name.to_string(), endpoints)),
    }
}

/// Endpoints grouped by locality, in a fixed order.
pub fn load_assignment(name: &str, endpoints: &[Endpoint]) -> ClusterLoadAssignment {
    let mut groups: BTreeMap<Option<&Locality>, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        groups.entry(endpoint.locality.as_ref()).or_default().push(endpoint);
    }
    let group = |(locality, mut members): (Option<&Locality>, Vec<&Endpoint>)| {
        members.sort_by(|a, b| (&a.address, a.port, &a.tags).cmp(&(&b.address, b.port, &b.tags)));
        LocalityLbEndpoints {
            locality: locality.map(|l| EnvoyLocality {
                zone: l.zone.clone(),
                sub_zone: l.sub_zone.clone(),
                ..Default::default()
            }),
            priority: locality.map_or(0, |l| l.priority),
            lb_endpoints: members.into_iter().map(lb_endpoint).collect(),
            ..Default::default()
        }
    };
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: groups.into_iter().map(group).collect(),
        ..Default::default()
    }
}

fn lb_endpoint(endpoint: &Endpoint) -> LbEndpoint {
    let tags: Vec<_> = endpoint
        .tags
        .iter()
        .filter(|(key, _)| key.as_str() != "kuma.io/service")
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let metadata = (!tags.is_empty()).then(|| {
        let fields = string_struct(tags);
        let under = |namespace: &str| (namespace.to_owned(), fields.clone());
        Metadata {
            filter_metadata: [under("envoy.lb"), under("envoy.transport_socket_match")].into(),
            ..Default::default()
        }
    });
    LbEndpoint {
        load_balancing_weight: Some(UInt32Value { value: endpoint.weight }),
        metadata,
        ..endpoint_of(socket_address(&endpoint.address, endpoint.port))
    }
}

/// A listener that routes requests.
pub fn http_listener(
    outbound: &Outbound,
    protocol: Protocol,
    traits: &OutboundTraits,
    routes: Vec<Route>,
) -> ListenerResource {
    let name = outbound.destination.to_string();
    let mut config = route_configuration(&name, &name, routes);
    if let Some(tags) = &traits.kuma_tags {
        config.request_headers_to_add.push(HeaderValueOption {
            header: Some(HeaderValue { key: KUMA_TAGS_HEADER.to_owned(), value: tags.clone(), ..Default::default() }),
            ..Default::default()
        });
    }
    let mut hcm = http_connection_manager(&name, &traits.internal, config);
    hcm.normalize_path = Some(BoolValue { value: true });
    if protocol == Protocol::Grpc {
        add_grpc_stats(&mut hcm);
    }
    listener(outbound, protocol, traits, vec![NetworkFilter::Hcm(Box::new(hcm))])
}

/// A listener that splits connections; without any split Envoy closes them.
pub fn tcp_listener(
    outbound: &Outbound,
    protocol: Protocol,
    traits: &OutboundTraits,
    splits: &[Split],
) -> ListenerResource {
    let name = outbound.destination.to_string();
    let filters = match splits {
        [] => Vec::new(),
        [one] => vec![NetworkFilter::TcpProxy(Box::new(tcp_proxy(&name, &one.cluster)))],
        many => {
            let weight = |split: &Split| tcp::weighted_cluster::ClusterWeight {
                name: split.cluster.clone(),
                weight: split.weight,
                ..Default::default()
            };
            let weighted = tcp::WeightedCluster { clusters: many.iter().map(weight).collect() };
            let specifier = Some(tcp::ClusterSpecifier::WeightedClusters(weighted));
            vec![NetworkFilter::TcpProxy(Box::new(TcpProxy { cluster_specifier: specifier, ..tcp_proxy(&name, "") }))]
        }
    };
    listener(outbound, protocol, traits, filters)
}

fn listener(
    outbound: &Outbound,
    protocol: Protocol,
    traits: &OutboundTraits,
    filters: Vec<NetworkFilter>,
) -> ListenerResource {
    let name = outbound.destination.to_string();
    let message = Listener {
        address: Some(socket_address(&outbound.address, outbound.port)),
        traffic_direction: TrafficDirection::Outbound.into(),
        bind_to_port: (!traits.bind_to_port).then_some(BoolValue { value: false }),
        metadata: Some(name_metadata(&name)),
        stat_prefix: name.clone(),
        name,
        ..Default::default()
    };
    ListenerResource {
        origin: Origin::Outbound,
        destination: Some(outbound.destination.clone()),
        protocol,
        listener: message,
        chains: vec![Chain::of(filters)],
    }
}
