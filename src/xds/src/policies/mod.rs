//! How policies shape what a proxy runs: one file per policy.
//!
//! MeshHTTPRoute and MeshTCPRoute make the outbounds; the others edit what is there, in the order of
//! [`POLICIES`].

mod client_routes;
pub mod destinations;
pub mod edit;
#[cfg(test)]
mod fixtures;
pub mod mesh_access_log;
pub mod mesh_circuit_breaker;
pub mod mesh_fault_injection;
pub mod mesh_health_check;
pub mod mesh_http_route;
pub mod mesh_load_balancing_strategy;
pub mod mesh_metric;
pub mod mesh_passthrough;
pub mod mesh_proxy_patch;
pub mod mesh_rate_limit;
pub mod mesh_retry;
pub mod mesh_tcp_route;
pub mod mesh_timeout;
pub mod mesh_tls;
pub mod mesh_trace;
pub mod mesh_traffic_permission;
pub(crate) mod otel;
mod predicate;

use std::collections::BTreeMap;

use model::Kind;
use policy::Rules;

pub use edit::{Edit, Faults, ProxyTraits};

use crate::resource_set::ResourceSet;

/// A policy that edits what a proxy runs.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Its kind; the order of effect is the kind's.
    pub kind: Kind,
    /// The edit. It runs also when no policy of the kind selects the proxy.
    pub edit: fn(&mut Edit<'_>),
}

/// All of them, in order of effect.
pub const POLICIES: &[Policy] = &[
    mesh_tls::POLICY,
    mesh_load_balancing_strategy::POLICY,
    mesh_passthrough::POLICY,
    mesh_access_log::POLICY,
    mesh_trace::POLICY,
    mesh_fault_injection::POLICY,
    mesh_rate_limit::POLICY,
    mesh_timeout::POLICY,
    mesh_traffic_permission::POLICY,
    mesh_health_check::POLICY,
    mesh_circuit_breaker::POLICY,
    mesh_retry::POLICY,
    mesh_metric::POLICY,
    mesh_proxy_patch::POLICY,
];

/// Edits `set` by all policies. A kind without rules counts as one of which no policy selects the
/// proxy. What could not be applied is in `faults`; the rest is in force.
pub fn apply(rules: &BTreeMap<Kind, Rules>, proxy: &ProxyTraits<'_>, set: &mut ResourceSet, faults: &mut Faults) {
    for policy in POLICIES {
        let none = Rules::none(policy.kind);
        let rules = rules.get(&policy.kind).unwrap_or(&none);
        (policy.edit)(&mut Edit { rules, proxy, set, faults });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_stand_in_the_order_of_their_kinds() {
        let orders: Vec<_> = POLICIES.iter().map(|policy| policy.kind.order).collect();
        assert!(orders.is_sorted_by(|a, b| a < b), "{orders:?}");
    }
}
