//! What is a proxy's own, encoded, in parts that change for different reasons; and how they become a
//! configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::outbound_part::OutboundPart;
use crate::proxy_config::{EncodedResource, Entry, LAYERS, Layer, PolicyFault, ProxyConfig, ResourceType, TypeConfig};

/// The types of which there are resources.
const TYPES: [ResourceType; 4] =
    [ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener, ResourceType::Secret];

/// A part of what is a proxy's own.
#[derive(Debug, Default)]
pub(super) struct OwnPart {
    layers: [Layer; TYPES.len()],
    faults: Vec<PolicyFault>,
    /// Whether the names of destinations are in it.
    pub(super) has_names: bool,
}

impl OwnPart {
    /// These resources, each under the hash of its content as version.
    pub(super) fn new(resources: Vec<Arc<EncodedResource>>, faults: Vec<PolicyFault>) -> Self {
        let clusters = resources.iter().filter(|resource| resource.ty == ResourceType::Cluster);
        let clusters: BTreeMap<_, _> = clusters.map(|cluster| (Arc::clone(&cluster.name), cluster.hash)).collect();
        let entry = |resource: &Arc<EncodedResource>| {
            let cluster = clusters.get(&resource.name).filter(|_| resource.ty == ResourceType::Endpoint);
            let version = cluster.map_or(resource.hash, |cluster| resource.hash.mix(*cluster));
            Entry { resource: Arc::clone(resource), version }
        };
        let layer = |ty| resources.iter().filter(|resource| resource.ty == ty).map(entry).collect();
        Self { layers: TYPES.map(layer), faults, has_names: false }
    }

    /// The same part, in which the names of destinations are.
    pub(super) fn with_names(self) -> Self {
        Self { has_names: true, ..self }
    }
}

/// What is a proxy's own: in parts, or as a whole that takes the place of the surroundings.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnParts {
    /// Admin, passthrough, documents of policies and zone listeners.
    pub(super) surroundings: Option<Arc<OwnPart>>,
    /// The document of names, where nothing else stands in the listener that serves it: shared by proxies.
    pub(super) names: Option<Arc<OwnPart>>,
    pub(super) inbounds: Option<Arc<OwnPart>>,
    pub(super) secrets: Option<Arc<OwnPart>>,
    /// Whether the surroundings are all that there is.
    pub(super) is_whole: bool,
}

impl OwnParts {
    /// Everything in one part.
    pub(super) fn whole(part: OwnPart) -> Self {
        Self { surroundings: Some(Arc::new(part)), is_whole: true, ..Self::default() }
    }

    fn all(&self) -> [Option<&Arc<OwnPart>>; LAYERS - 1] {
        [self.surroundings.as_ref(), self.names.as_ref(), self.inbounds.as_ref(), self.secrets.as_ref()]
    }

    /// Whether both are the same parts.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.all().into_iter().zip(other.all()).all(|(a, b)| super::memo::is_same(a, b))
    }

    /// A configuration of these and of outbounds. What says the same as in the former one is taken from
    /// there, down to the whole of it.
    pub(super) fn with(&self, outbounds: &OutboundPart, former: Option<&Arc<ProxyConfig>>) -> Arc<ProxyConfig> {
        let [surroundings, names, inbounds, secrets] = self.all();
        let resources = |(at, ty): (usize, ResourceType)| {
            let of = |part: Option<&Arc<OwnPart>>| part.map(|part| part.layers[at].clone()).unwrap_or_default();
            let layers = [outbounds.of(ty), of(surroundings), of(names), of(inbounds), of(secrets)];
            let config = TypeConfig::new(layers);
            (ty, former.map_or(config.clone(), |former| config.or_same(former.of(ty))))
        };
        let of_own = self.all().into_iter().flatten().flat_map(|part| &part.faults);
        let mut faults: Vec<_> = of_own.chain(&outbounds.faults).cloned().collect();
        faults.sort();
        faults.dedup();
        let config = ProxyConfig::new(TYPES.into_iter().enumerate().map(resources), faults);
        match former {
            Some(former) if former.shares_all(&config) => Arc::clone(former),
            Some(_) | None => Arc::new(config),
        }
    }
}
