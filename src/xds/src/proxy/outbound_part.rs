//! What a proxy runs for its outbounds. Proxies that call the same destinations in the same way have
//! it in common, and most of it stays from view to view: it is made from cached pieces, each of which
//! is keyed by a digest of everything that it depends on.

use std::sync::Arc;

use model::kinds::target_ref::BackendRef;
use model::{Kind, Kri, registry};
use policy::{ResourceRules, Rules};

use super::derived::Proxy;
use super::edit::{Part, is_eds};
use super::shared::{Count, InputsHash, digest};
use crate::encode::encode;
use crate::envoy::endpoint::ClusterLoadAssignment;
use crate::generators::outbound::{DestinationPort, Outbound};
use crate::policies::destinations::{Destinations, OutboundInputs};
use crate::policies::mesh_http_route::{self, HttpRules};
use crate::policies::mesh_tcp_route::{self, TcpRules};
use crate::proxy_config::{EncodedResource, Entry, Layer, PolicyFault, ResourceType};
use crate::resource_set::{EndpointsResource, Origin, ResourceSet};
use crate::view::MeshView;

/// Policies whose edits of outbounds depend on nothing but their rules for the destination.
const DESTINATION_ONLY: [Kind; 5] = [
    registry::MESH_HTTP_ROUTE,
    registry::MESH_TCP_ROUTE,
    registry::MESH_TIMEOUT,
    registry::MESH_CIRCUIT_BREAKER,
    registry::MESH_RETRY,
];

/// The resources of one outbound, without endpoints.
#[derive(Debug)]
pub(super) struct Unit {
    listeners: Vec<Arc<EncodedResource>>,
    /// Clusters, with the destination of those whose endpoints come over the same stream.
    clusters: Vec<(Arc<EncodedResource>, Option<Kri>)>,
    faults: Vec<PolicyFault>,
}

/// All resources of a proxy's outbounds.
#[derive(Debug, Default)]
pub(super) struct OutboundPart {
    pub(super) listeners: Layer,
    pub(super) clusters: Layer,
    pub(super) endpoints: Layer,
    pub(super) faults: Vec<PolicyFault>,
    /// Keeps the pieces in the cache as long as a view uses them.
    _units: Vec<Arc<Unit>>,
}

impl OutboundPart {
    pub(super) fn of(&self, ty: ResourceType) -> Layer {
        match ty {
            ResourceType::Cluster => self.clusters.clone(),
            ResourceType::Endpoint => self.endpoints.clone(),
            ResourceType::Listener => self.listeners.clone(),
            ResourceType::Secret | ResourceType::Route => Layer::default(),
        }
    }
}

/// The mesh without its endpoints, which are added later.
struct Endpointless<'a>(&'a MeshView);

impl Destinations for Endpointless<'_> {
    fn port(&self, kri: &Kri) -> Option<DestinationPort> {
        Destinations::port(self.0, kri)
    }

    fn resolve(&self, namespace: &str, backend: &BackendRef) -> Option<Kri> {
        Destinations::resolve(self.0, namespace, backend)
    }

    fn load_assignment(&self, cluster: &str, _: &Kri) -> Arc<ClusterLoadAssignment> {
        Arc::new(ClusterLoadAssignment { cluster_name: cluster.to_owned(), ..Default::default() })
    }
}

impl Proxy<'_> {
    /// The outbound part, shared with every proxy of the view that has the same, and under what.
    pub(super) fn outbound_part(&self) -> (InputsHash, Arc<OutboundPart>) {
        let traits = self.class_traits();
        // One address stands for one set of rules as long as the view lives.
        let said = self.rules.values().filter(|rules| !rules.to.is_empty());
        let rules: Vec<_> = said.map(|rules| (rules.kind, Arc::as_ptr(&rules.to) as usize)).collect();
        let key = digest((self.outbounds.hash, traits, rules));
        (key, self.view.shared.class(key, || self.make_outbound_part(traits)))
    }

    /// What all outbounds depend on beside destinations and rules.
    fn class_traits(&self) -> InputsHash {
        let tls = self.rules.get(&registry::MESH_TLS);
        let tls_params: Vec<_> = tls
            .into_iter()
            .flat_map(|rules| self.inbounds.iter().filter_map(|i| rules.inbound(&i.address, u32::from(i.port))))
            .map(|rules| ["tlsVersion", "tlsCiphers"].map(|field| rules.catch_all.value()[field].to_string()))
            .filter(|params| params.iter().any(|param| param != "null"))
            .collect();
        let who = self.rules.values().any(reads_proxy).then(|| {
            let inbounds: Vec<_> = self.inbounds.iter().map(|i| (&i.section, &i.address, i.port)).collect();
            let metadata = &self.inputs.metadata;
            let node = (self.entry.spec.address(), &metadata.work_dir, &metadata.features, &metadata.dynamic_metadata);
            let collectors: Vec<_> =
                self.otel_backends.iter().map(|b| (&b.key, b.spec.json(), &b.meta.labels)).collect();
            (&self.inputs.dataplane, &self.entry.labels, &self.gateway_tags, inbounds, node, collectors)
        });
        let proxy_confs: Vec<_> = self
            .rules
            .values()
            .filter(|rules| reads_proxy(rules))
            .filter_map(|r| Some((r.kind, r.proxy.as_ref()?.conf.value().to_string())))
            .collect();
        digest((&self.outbound_traits, &self.identity, tls_params, who, proxy_confs))
    }

    fn make_outbound_part(&self, traits: InputsHash) -> OutboundPart {
        let mut part = OutboundPart::default();
        let (mut listeners, mut clusters, mut endpoints) = (Vec::new(), Vec::new(), Vec::new());
        for outbound in self.outbounds.list.iter() {
            let Some(port) = self.view.port(&outbound.destination) else { continue };
            let rules = self.rules_digest(&outbound.destination);
            let epoch = self.is_routed(&outbound.destination).then(|| self.view.shared.epoch());
            let place = (&outbound.address, outbound.port, &outbound.destination);
            let key = digest((place, port.client_hash, traits, rules, epoch));
            let unit = self.view.shared.unit(key, || self.make_unit(outbound));
            listeners.extend(unit.listeners.iter().map(entry));
            for (cluster, destination) in &unit.clusters {
                clusters.push(entry(cluster));
                if let Some(destination) = destination {
                    let resource = self.endpoint_set(&cluster.name, destination, traits);
                    let version = resource.hash.mix(cluster.hash);
                    endpoints.push(Entry { resource, version });
                }
            }
            part.faults.extend(unit.faults.iter().cloned());
            part._units.push(unit);
        }
        let shared = &self.view.shared;
        part.listeners = shared.intern_layer(listeners);
        part.clusters = shared.intern_layer(clusters);
        part.endpoints = shared.intern_layer(endpoints);
        part
    }

    /// Whether routes lead the traffic to a destination elsewhere.
    fn is_routed(&self, destination: &Kri) -> bool {
        [registry::MESH_HTTP_ROUTE, registry::MESH_TCP_ROUTE]
            .iter()
            .filter_map(|kind| self.rules.get(kind))
            .any(|rules| rules.to.compute(destination).is_some())
    }

    /// A digest of everything that policies say of a destination.
    fn rules_digest(&self, destination: &Kri) -> InputsHash {
        let whole = destination.with_section("");
        let mesh = Kri::mesh(self.view.mesh());
        let said = self.rules.values().filter(|rules| !rules.to.is_empty()).filter_map(|rules| {
            let digests = self.view.policies().digests(&rules.to);
            let said = [destination, &whole, &mesh].map(|kri| digests.get(kri).copied());
            said.iter().any(Option::is_some).then_some((rules.kind, said))
        });
        digest(said.collect::<Vec<_>>())
    }

    fn make_unit(&self, outbound: &Outbound) -> Unit {
        self.view.shared.count(Count::Outbound);
        let mut faults = Vec::new();
        let mut set = self.routed(std::slice::from_ref(outbound), &Endpointless(self.view), &mut faults);
        self.edit(Part::Outbound, &mut set, &mut faults);
        // Policies also read what they have for inbounds; that is told with the proxy's own part.
        faults.retain(|fault| self.view.policies().get(&fault.key).is_some_and(|policy| !policy.frame.to.is_empty()));
        self.drop_invalid(&mut set, &mut faults);
        let listeners = set.listeners.into_values().map(|listener| {
            let message = listener.pack();
            self.encoded(ResourceType::Listener, &message.name, &message)
        });
        let listeners = listeners.collect();
        let clusters = set.clusters.into_values().map(|cluster| {
            let destination = cluster.destination.clone().filter(|_| is_eds(&cluster.cluster));
            let message = cluster.pack();
            (self.encoded(ResourceType::Cluster, &message.name, &message), destination)
        });
        Unit { listeners, clusters: clusters.collect(), faults }
    }

    /// Listeners, clusters and endpoints of outbounds, as routes have them.
    pub(super) fn routed(
        &self,
        outbounds: &[Outbound],
        destinations: &dyn Destinations,
        faults: &mut Vec<PolicyFault>,
    ) -> ResourceSet {
        let inputs =
            OutboundInputs { outbounds, traits: &self.outbound_traits, identity: self.identity.as_ref(), destinations };
        let of = |kind: Kind| self.rules.get(&kind).cloned().unwrap_or_else(|| Rules::none(kind));
        let (http, tcp) = (of(registry::MESH_HTTP_ROUTE), of(registry::MESH_TCP_ROUTE));
        let mut set = ResourceSet::new();
        mesh_http_route::generate(&inputs, |outbound| HttpRules::of(&http, &outbound.destination, faults), &mut set);
        mesh_tcp_route::generate(
            &inputs,
            |outbound| TcpRules::of(&tcp, &http, &outbound.destination, faults),
            &mut set,
        );
        set
    }

    fn endpoint_set(&self, cluster: &Arc<str>, destination: &Kri, traits: InputsHash) -> Arc<EncodedResource> {
        let endpoints = self.view.port(destination).map(|port| port.endpoints.hash);
        let strategy = registry::MESH_LOAD_BALANCING_STRATEGY;
        // Without a strategy that may look at the proxy, its traits make no difference.
        let strategy = self.rules.get(&strategy).filter(|rules| !rules.to.is_empty());
        let rules = strategy.map(|_| (self.rules_digest(destination), traits));
        let key = digest((cluster, destination, endpoints, rules));
        self.view.shared.endpoints(key, || {
            let mut set = ResourceSet::new();
            set.add_endpoints(EndpointsResource {
                origin: Origin::Outbound,
                destination: Some(destination.clone()),
                endpoints: Destinations::load_assignment(self.view, cluster, destination),
            });
            // What cannot be read of a strategy is told with the cluster.
            self.edit(Part::Endpoints, &mut set, &mut Vec::new());
            let made = set.endpoints.into_values().next().map(|resource| resource.endpoints).unwrap_or_default();
            self.encoded(ResourceType::Endpoint, cluster, &*made)
        })
    }

    /// Encodes a resource; what others have as well is shared with them.
    pub(super) fn encoded<T: prost::Message + prost::Name>(
        &self,
        ty: ResourceType,
        name: &str,
        message: &T,
    ) -> Arc<EncodedResource> {
        self.view.shared.count(Count::Encoded(ty));
        self.view.shared.intern(encode(ty, name, message))
    }
}

/// Whether what these rules make of outbounds depends on whose outbounds they are.
fn reads_proxy(rules: &Rules) -> bool {
    Part::Outbound.is_edited_by(rules.kind)
        && !DESTINATION_ONLY.contains(&rules.kind)
        && (!ResourceRules::is_empty(&rules.to) || rules.proxy.is_some())
}

fn entry(resource: &Arc<EncodedResource>) -> Entry {
    Entry { resource: Arc::clone(resource), version: resource.hash }
}
