//! The policies' turn, and what is checked before anything is encoded.

use model::{Kind, registry};
use policy::Rules;

use super::derived::Proxy;
use crate::envoy::cluster::Cluster;
use crate::envoy::cluster::cluster::{ClusterDiscoveryType, DiscoveryType};
use crate::policies::{Edit, Faults, POLICIES};
use crate::proxy_config::PolicyFault;
use crate::resource_set::ResourceSet;

/// Policies that have nothing to do with a proxy's outbounds.
const NOT_FOR_OUTBOUNDS: [Kind; 4] =
    [registry::MESH_PASSTHROUGH, registry::MESH_TRAFFIC_PERMISSION, registry::MESH_METRIC, registry::MESH_PROXY_PATCH];

/// Policies that have nothing to do with a proxy's inbounds.
const NOT_FOR_INBOUNDS: [Kind; 3] = [registry::MESH_PASSTHROUGH, registry::MESH_METRIC, registry::MESH_PROXY_PATCH];

/// Policies whose rules for inbounds change nothing but these. Others look at them for what all
/// redirected connections pass through, too.
pub(super) const INBOUND_ONLY: [Kind; 5] = [
    registry::MESH_FAULT_INJECTION,
    registry::MESH_RATE_LIMIT,
    registry::MESH_TIMEOUT,
    registry::MESH_TRAFFIC_PERMISSION,
    registry::MESH_CIRCUIT_BREAKER,
];

/// Which resources a set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of the proxy.
    Whole,
    /// Those of its inbounds.
    Inbounds,
    /// What is neither for its inbounds nor for its outbounds, without secrets.
    Surroundings,
    /// Those of one outbound, without endpoints.
    Outbound,
    /// The endpoints of one destination.
    Endpoints,
}

impl Part {
    pub(super) fn is_edited_by(self, kind: Kind) -> bool {
        match self {
            Self::Whole | Self::Surroundings => true,
            Self::Inbounds => !NOT_FOR_INBOUNDS.contains(&kind),
            Self::Outbound => !NOT_FOR_OUTBOUNDS.contains(&kind),
            Self::Endpoints => kind == registry::MESH_LOAD_BALANCING_STRATEGY,
        }
    }
}

impl Proxy<'_> {
    /// Lets the policies edit a part of what the proxy runs.
    pub(super) fn edit(&self, part: Part, set: &mut ResourceSet, faults: &mut Vec<PolicyFault>) {
        let traits = self.traits();
        let mut found = Faults::default();
        for policy in POLICIES.iter().filter(|policy| part.is_edited_by(policy.kind)) {
            let none = Rules::none(policy.kind);
            let rules = self.rules.get(&policy.kind).unwrap_or(&none);
            (policy.edit)(&mut Edit { rules, proxy: &traits, set, faults: &mut found });
        }
        faults.extend(found.0);
    }

    /// Drops what Envoy would refuse. A cluster without its endpoints, or endpoints without their
    /// cluster, would hold back all endpoints of the proxy.
    pub(super) fn drop_invalid(&self, set: &mut ResourceSet, faults: &mut Vec<PolicyFault>) {
        let key = &self.entry.resource.key;
        let mut refuse = |what: &str, name: &str, why: &str| {
            faults.push(PolicyFault { key: key.clone(), message: format!("{what} \"{name}\" is left out: {why}") });
        };
        set.listeners.retain(|name, listener| {
            let is_valid = !name.is_empty() && listener.listener.address.is_some();
            if !is_valid {
                refuse("listener", name, "it has no name or no address");
            }
            is_valid
        });
        let endpoints = &set.endpoints;
        set.clusters.retain(|name, cluster| {
            let is_valid = !name.is_empty() && (!is_eds(&cluster.cluster) || endpoints.contains_key(name));
            if !is_valid {
                refuse("cluster", name, "it has no name or no endpoints");
            }
            is_valid
        });
        let clusters = &set.clusters;
        set.endpoints.retain(|name, _| {
            let is_valid = clusters.get(name).is_some_and(|cluster| is_eds(&cluster.cluster));
            if !is_valid {
                refuse("endpoints", name, "they have no cluster");
            }
            is_valid
        });
    }
}

/// Whether a cluster's endpoints come over the same stream.
pub(super) fn is_eds(cluster: &Cluster) -> bool {
    cluster.cluster_discovery_type == Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into()))
}
