//! What routes can lead to, and the clusters that they then need. Shared by MeshHTTPRoute and
//! MeshTCPRoute.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::kinds::target_ref::BackendRef;
use model::registry::MESH_SERVICE;
use policy::ResourceRule;
use serde::de::DeserializeOwned;

use crate::envoy::endpoint::ClusterLoadAssignment;
use crate::generators::outbound::{self, DestinationPort, Outbound, OutboundTraits, Split};
use crate::generators::tls::TlsIdentity;
use crate::names::Kri;
use crate::proxy_config::PolicyFault;
use crate::resource_set::{EndpointsResource, Origin, ResourceSet};
use crate::view::MeshView;

/// The picture of a mesh, as far as routes need it.
pub trait Destinations {
    /// The port of a destination. The section may be the port's name or number, or empty when the
    /// destination has one port only.
    fn port(&self, kri: &Kri) -> Option<DestinationPort>;

    /// The destination that a backend of a route in `namespace` means, with the section as it is
    /// written (for a MeshService without one, its only port's).
    fn resolve(&self, namespace: &str, backend: &BackendRef) -> Option<Kri>;

    /// The endpoints of a destination port, as the endpoints of the cluster `cluster`.
    fn load_assignment(&self, cluster: &str, destination: &Kri) -> Arc<ClusterLoadAssignment>;
}

impl Destinations for MeshView {
    fn port(&self, kri: &Kri) -> Option<DestinationPort> {
        Some(MeshView::port(self, kri)?.port.clone())
    }

    fn resolve(&self, namespace: &str, backend: &BackendRef) -> Option<Kri> {
        let kri = policy::backend::resolve(namespace, backend, self.policies().destinations())?.kri;
        if kri.kind == MESH_SERVICE && kri.section.is_empty() {
            return Some(MeshView::port(self, &kri)?.port.kri.clone());
        }
        Some(kri)
    }

    fn load_assignment(&self, cluster: &str, destination: &Kri) -> Arc<ClusterLoadAssignment> {
        let endpoints = MeshView::port(self, destination).map(|port| port.endpoints.endpoints.as_slice());
        Arc::new(outbound::load_assignment(cluster, endpoints.unwrap_or_default()))
    }
}

/// What is the same for all outbounds of a proxy.
#[derive(Clone, Copy)]
pub struct OutboundInputs<'a> {
    /// The proxy's outbounds.
    pub outbounds: &'a [Outbound],
    /// What all of them share.
    pub traits: &'a OutboundTraits,
    /// The identity of the proxy; without one it speaks plaintext.
    pub identity: Option<&'a TlsIdentity>,
    /// The mesh.
    pub destinations: &'a dyn Destinations,
}

/// The clusters that the routes of a proxy lead to.
#[derive(Debug, Default)]
pub(super) struct Clusters(BTreeMap<Kri, DestinationPort>);

/// A backend with the destination that it means.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    /// The destination, with the section as written.
    pub name: Kri,
    /// The port that it means.
    pub port: DestinationPort,
    /// Its weight.
    pub weight: u32,
}

impl Backend {
    /// The backend that a reference means; `None` when it means nothing.
    pub(super) fn resolve(destinations: &dyn Destinations, namespace: &str, backend: &BackendRef) -> Option<Self> {
        let name = destinations.resolve(namespace, backend)?;
        let port = destinations.port(&name)?;
        Some(Self { name, port, weight: backend.weight })
    }
}

impl Clusters {
    /// The cluster of a backend, which is made when the routes are done.
    pub(super) fn cluster(&mut self, backend: &Backend) -> String {
        let name = backend.name.to_string();
        self.0.entry(backend.name.clone()).or_insert_with(|| backend.port.clone());
        name
    }

    /// A share of traffic to a backend.
    pub(super) fn split(&mut self, backend: &Backend) -> Split {
        Split { cluster: self.cluster(backend), weight: backend.weight, external: backend.port.is_external() }
    }

    /// Adds the clusters with their endpoints. A destination that TLS cannot name gets neither:
    /// endpoints without a cluster would hold back all endpoints of the proxy.
    pub(super) fn finish(self, inputs: &OutboundInputs<'_>, set: &mut ResourceSet) {
        for (name, port) in self.0 {
            let Ok(cluster) = outbound::cluster(&name, &port, inputs.identity) else { continue };
            set.add_endpoints(EndpointsResource {
                origin: Origin::Outbound,
                destination: Some(port.kri.clone()),
                endpoints: inputs.destinations.load_assignment(cluster.name(), &port.kri),
            });
            set.add_cluster(cluster);
        }
    }
}

/// Reads the merged conf of a route. When that fails, the policy of the highest precedence that
/// contributes to it is at fault.
pub(super) fn read_conf<T>(rule: &ResourceRule, faults: &mut Vec<PolicyFault>) -> Option<Arc<T>>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    let error = match rule.conf.typed() {
        Ok(conf) => return Some(conf),
        Err(error) => error.to_string(),
    };
    if let Some(origin) = rule.origin.last() {
        let fault = PolicyFault { key: origin.policy.resource.key.clone(), message: error };
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    None
}
