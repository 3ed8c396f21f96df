//! MeshHTTPRoute: where requests go and how they change on the way.
//! Resource: Kuma `MeshHTTPRoute`. Makes the listener, clusters and endpoints of every HTTP outbound,
//! also of those that no route names.

mod filters;
pub(super) mod matches;
mod routes;

use std::sync::Arc;

use model::Kri;
use model::kinds::mesh_http_route::Rule;
use policy::Rules;
use policy::matches_hash::matches_hash;
use serde::Deserialize;

use super::destinations::{Backend, Clusters, OutboundInputs, read_conf};
use crate::generators::outbound::{Outbound, http_listener};
use crate::proxy_config::PolicyFault;
use crate::resource_set::ResourceSet;

/// The merged rules of all routes for one destination.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct HttpRouteConf {
    /// The rules, in order of precedence.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// The policy item that a rule comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSource {
    /// Name of the Envoy routes that it makes: `<identifier of the route>rule_<index of its item>`.
    pub route_name: String,
    /// Namespace of the route resource; backends without one are looked for there.
    pub namespace: String,
}

/// The rules for one outbound with where each comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpRules {
    /// The rules.
    pub conf: Arc<HttpRouteConf>,
    /// The source of each rule.
    pub sources: Vec<RuleSource>,
}

impl HttpRules {
    /// What the matched policies say of a destination; `None` when no route names it. A conf that
    /// cannot be read is reported and counts as none.
    pub fn of(rules: &Rules, destination: &Kri, faults: &mut Vec<PolicyFault>) -> Option<Self> {
        let rule = rules.to.compute(destination)?;
        let conf: Arc<HttpRouteConf> = read_conf(rule, faults)?;
        let matches = rule.conf.value()["rules"].as_array().into_iter().flatten().map(|rule| &rule["matches"]);
        let source = |matches| {
            let origin = rule.origin_by_matches.get(&matches_hash(matches)).or(rule.origin.last());
            origin.map_or_else(RuleSource::default, |origin| {
                let kri = &origin.policy.kri;
                RuleSource {
                    route_name: kri.with_section(&format!("rule_{}", origin.rule_index)).to_string(),
                    namespace: kri.namespace.to_string(),
                }
            })
        };
        Some(Self { sources: matches.map(source).collect(), conf })
    }

    fn iter(&self) -> impl Iterator<Item = (&Rule, &RuleSource)> {
        self.conf.rules.iter().zip(&self.sources)
    }
}

/// Makes the listeners, clusters and endpoints of all HTTP outbounds. `rules_of` gives the rules of an
/// outbound, `None` when no route names it.
pub fn generate(
    inputs: &OutboundInputs<'_>,
    mut rules_of: impl FnMut(&Outbound) -> Option<HttpRules>,
    set: &mut ResourceSet,
) {
    let mut clusters = Clusters::default();
    for outbound in inputs.outbounds {
        let Some(port) = inputs.destinations.port(&outbound.destination) else { continue };
        if !port.protocol.is_http() {
            continue;
        }
        let rules = rules_of(outbound).unwrap_or_default();
        let own = Backend { name: outbound.destination.clone(), port, weight: 1 };
        let routes = routes::routes(&rules, &own, inputs.destinations, &mut clusters);
        set.add_listener(http_listener(outbound, own.port.protocol, inputs.traits, routes));
    }
    clusters.finish(inputs, set);
}

#[cfg(test)]
mod tests;
