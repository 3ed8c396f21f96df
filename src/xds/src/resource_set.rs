//! All Envoy resources of one proxy before they are encoded: typed, keyed by type and name, each
//! with where it came from, so that policies find and edit what is theirs.

mod cluster;
mod listener;
mod origin;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use cluster::{ClusterResource, HTTP_OPTIONS};
pub use listener::{
    Chain, HTTP_CONNECTION_MANAGER, ListenerResource, NetworkFilter, TCP_PROXY, add_http_filter_first,
    add_http_filter_last, http_filter_of, route_config_mut, routes_mut,
};
pub use origin::Origin;

use crate::envoy::cluster::Cluster;
use crate::envoy::endpoint::ClusterLoadAssignment;
use crate::envoy::listener::Listener;
use crate::envoy::tls::Secret;
use crate::names::Kri;

/// The endpoints of one cluster. Shared with every proxy that has the same ones until a policy
/// edits them for this proxy.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointsResource {
    /// Which generator or policy made it.
    pub origin: Origin,
    /// The destination port that they belong to.
    pub destination: Option<Kri>,
    /// The message.
    pub endpoints: Arc<ClusterLoadAssignment>,
}

impl EndpointsResource {
    /// The message for editing: copied first when others share it.
    pub fn edit(&mut self) -> &mut ClusterLoadAssignment {
        Arc::make_mut(&mut self.endpoints)
    }
}

/// A secret.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretResource {
    /// Which generator or policy made it.
    pub origin: Origin,
    /// The message.
    pub secret: Secret,
}

/// All resources of one proxy. Adding one of a name that is there already replaces it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceSet {
    /// Listeners by name.
    pub listeners: BTreeMap<String, ListenerResource>,
    /// Clusters by name.
    pub clusters: BTreeMap<String, ClusterResource>,
    /// Endpoints by cluster name.
    pub endpoints: BTreeMap<String, EndpointsResource>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, SecretResource>,
}

/// The messages of one proxy, each list ordered by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Messages {
    /// Clusters.
    pub clusters: Vec<Cluster>,
    /// Endpoints.
    pub endpoints: Vec<Arc<ClusterLoadAssignment>>,
    /// Listeners.
    pub listeners: Vec<Listener>,
    /// Secrets.
    pub secrets: Vec<Secret>,
}

impl ResourceSet {
    /// No resource.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a listener.
    pub fn add_listener(&mut self, listener: ListenerResource) {
        self.listeners.insert(listener.name().to_owned(), listener);
    }

    /// Adds or replaces a cluster.
    pub fn add_cluster(&mut self, cluster: ClusterResource) {
        self.clusters.insert(cluster.name().to_owned(), cluster);
    }

    /// Adds or replaces the endpoints of a cluster.
    pub fn add_endpoints(&mut self, endpoints: EndpointsResource) {
        self.endpoints.insert(endpoints.endpoints.cluster_name.clone(), endpoints);
    }

    /// Adds or replaces a secret.
    pub fn add_secret(&mut self, origin: Origin, secret: Secret) {
        self.secrets.insert(secret.name.clone(), SecretResource { origin, secret });
    }

    /// Adds everything of `other`, replacing what has the same names.
    pub fn append(&mut self, other: ResourceSet) {
        self.listeners.extend(other.listeners);
        self.clusters.extend(other.clusters);
        self.endpoints.extend(other.endpoints);
        self.secrets.extend(other.secrets);
    }

    /// The listeners of an origin.
    pub fn listeners_of(&self, origin: Origin) -> impl Iterator<Item = &ListenerResource> {
        self.listeners.values().filter(move |listener| listener.origin == origin)
    }

    /// The listeners of an origin, for editing.
    pub fn listeners_of_mut(&mut self, origin: Origin) -> impl Iterator<Item = &mut ListenerResource> {
        self.listeners.values_mut().filter(move |listener| listener.origin == origin)
    }

    /// The clusters of an origin.
    pub fn clusters_of(&self, origin: Origin) -> impl Iterator<Item = &ClusterResource> {
        self.clusters.values().filter(move |cluster| cluster.origin == origin)
    }

    /// The clusters of an origin, for editing.
    pub fn clusters_of_mut(&mut self, origin: Origin) -> impl Iterator<Item = &mut ClusterResource> {
        self.clusters.values_mut().filter(move |cluster| cluster.origin == origin)
    }

    /// The listeners towards destinations, each with its destination port.
    pub fn outbound_listeners_mut(&mut self) -> impl Iterator<Item = (Kri, &mut ListenerResource)> {
        self.listeners_of_mut(Origin::Outbound).filter_map(|listener| Some((listener.destination.clone()?, listener)))
    }

    /// The clusters of destinations, each with its destination port.
    pub fn outbound_clusters_mut(&mut self) -> impl Iterator<Item = (Kri, &mut ClusterResource)> {
        self.clusters_of_mut(Origin::Outbound).filter_map(|cluster| Some((cluster.destination.clone()?, cluster)))
    }

    /// The endpoints of destinations, each with its destination port.
    pub fn outbound_endpoints_mut(&mut self) -> impl Iterator<Item = (Kri, &mut EndpointsResource)> {
        self.endpoints
            .values_mut()
            .filter(|endpoints| endpoints.origin == Origin::Outbound)
            .filter_map(|endpoints| Some((endpoints.destination.clone()?, endpoints)))
    }

    /// The clusters of external services behind a zone egress, each with its destination port.
    pub fn egress_clusters_mut(&mut self) -> impl Iterator<Item = (Kri, &mut ClusterResource)> {
        self.clusters_of_mut(Origin::Egress).filter_map(|cluster| Some((cluster.destination.clone()?, cluster)))
    }

    /// The clusters of all destinations, towards them and behind a zone egress, each with its
    /// destination port.
    pub fn destination_clusters_mut(&mut self) -> impl Iterator<Item = (Kri, &mut ClusterResource)> {
        self.clusters
            .values_mut()
            .filter(|cluster| matches!(cluster.origin, Origin::Outbound | Origin::Egress))
            .filter_map(|cluster| Some((cluster.destination.clone()?, cluster)))
    }

    /// The listeners of a proxy's own inbounds. The cluster of an inbound has its listener's name.
    pub fn inbound_listeners_mut(&mut self) -> impl Iterator<Item = &mut ListenerResource> {
        self.listeners_of_mut(Origin::Inbound)
    }

    /// The inbound listener on an address and port, of whatever origin.
    pub fn listener_at_mut(&mut self, address: &str, port: u16) -> Option<&mut ListenerResource> {
        self.listeners
            .values_mut()
            .find(|l| l.is_inbound_direction() && l.address().is_some_and(|(a, p)| a == address && p == port))
    }

    /// Packs everything into plain messages.
    pub fn finish(self) -> Messages {
        Messages {
            clusters: self.clusters.into_values().map(ClusterResource::pack).collect(),
            endpoints: self.endpoints.into_values().map(|endpoints| endpoints.endpoints).collect(),
            listeners: self.listeners.into_values().map(ListenerResource::pack).collect(),
            secrets: self.secrets.into_values().map(|secret| secret.secret).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
