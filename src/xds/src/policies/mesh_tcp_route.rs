//! MeshTCPRoute: where connections go.
//! Resource: Kuma `MeshTCPRoute`. Makes the listener, clusters and endpoints of every outbound that is
//! not HTTP, and of an HTTP one that only MeshTCPRoutes name.

use std::sync::Arc;

use model::Kri;
use model::kinds::mesh_tcp_route::Rule;
use policy::Rules;
use serde::Deserialize;

use super::destinations::{Backend, Clusters, OutboundInputs, read_conf};
use crate::generators::outbound::{Outbound, Split, tcp_listener};
use crate::proxy_config::PolicyFault;
use crate::resource_set::ResourceSet;

/// The merged conf of all routes for one destination.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct TcpRouteConf {
    /// At most one rule; none means the destination itself.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// What routes say of one outbound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TcpRules {
    /// The conf, when a MeshTCPRoute names the destination.
    pub conf: Option<Arc<TcpRouteConf>>,
    /// Namespace of the MeshTCPRoute of the highest precedence.
    pub namespace: String,
    /// Whether a MeshHTTPRoute names the destination: then requests are routed, not connections.
    pub has_http_route: bool,
}

impl TcpRules {
    /// What the matched MeshTCPRoutes and MeshHTTPRoutes say of a destination.
    pub fn of(tcp: &Rules, http: &Rules, destination: &Kri, faults: &mut Vec<PolicyFault>) -> Self {
        let rule = tcp.to.compute(destination);
        let last = rule.and_then(|rule| rule.origin.last());
        Self {
            conf: rule.and_then(|rule| read_conf(rule, faults)),
            namespace: last.map(|origin| origin.policy.kri.namespace.to_string()).unwrap_or_default(),
            has_http_route: http.to.compute(destination).is_some(),
        }
    }
}

/// Makes the listeners, clusters and endpoints of all TCP outbounds.
pub fn generate(inputs: &OutboundInputs<'_>, mut rules_of: impl FnMut(&Outbound) -> TcpRules, set: &mut ResourceSet) {
    let mut clusters = Clusters::default();
    for outbound in inputs.outbounds {
        let Some(port) = inputs.destinations.port(&outbound.destination) else { continue };
        let rules = rules_of(outbound);
        if port.protocol.is_http() && (rules.conf.is_none() || rules.has_http_route) {
            continue;
        }
        let own = Backend { name: outbound.destination.clone(), port, weight: 1 };
        let splits = splits(&rules, &own, inputs, &mut clusters);
        set.add_listener(tcp_listener(outbound, own.port.protocol, inputs.traits, &splits));
    }
    clusters.finish(inputs, set);
}

/// Where connections go. Backends that are not there are left out; when none is left, connections are
/// refused rather than let through to the original address.
fn splits(rules: &TcpRules, own: &Backend, inputs: &OutboundInputs<'_>, clusters: &mut Clusters) -> Vec<Split> {
    let refs =
        rules.conf.iter().flat_map(|conf| conf.rules.first()).find_map(|rule| rule.default.backend_refs.as_deref());
    let Some(refs) = refs.filter(|refs| !refs.is_empty()) else {
        return vec![clusters.split(own)];
    };
    let backends = refs
        .iter()
        .filter(|reference| reference.weight > 0)
        .filter_map(|reference| Backend::resolve(inputs.destinations, &rules.namespace, reference));
    backends.map(|backend| clusters.split(&backend)).collect()
}

#[cfg(test)]
mod tests;
