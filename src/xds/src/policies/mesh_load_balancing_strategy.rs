//! MeshLoadBalancingStrategy: which endpoint gets a request.
//! Resource: Kuma `MeshLoadBalancingStrategy`. Touches: Cluster.lb_policy, RouteAction.hash_policy,
//! ClusterLoadAssignment.
//!
//! Without a policy the endpoints of the own zone are tried before those of others.

mod conf;
mod locality;

use model::{Kri, registry};

use super::{Edit, Policy};
use crate::envoy::UInt32Value;
use crate::envoy::cluster::Cluster;
use crate::envoy::cluster::cluster::common_lb_config::{LocalityConfigSpecifier, LocalityWeightedLbConfig};
use crate::envoy::cluster::cluster::{
    LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig, ring_hash_lb_config,
};
use crate::envoy::core::RuntimeDouble;
use crate::envoy::duration;
use crate::envoy::route::route_action::{HashPolicy as EnvoyHashPolicy, hash_policy as envoy};
use crate::envoy::route::{Route, route::Action};
use crate::resource_set::{Origin, routes_mut};
use conf::{Conf, HashFunction, HashPolicy, HashPolicyType, LoadBalancer, LoadBalancerType};
use envoy_types::pb::google::protobuf::UInt64Value;

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_LOAD_BALANCING_STRATEGY, edit };

/// Envoy wants a name under which an operator could override the value at run time.
const ACTIVE_REQUEST_BIAS_KEY: &str = "upstream.least_request.active_request_bias";

fn edit(edit: &mut Edit<'_>) {
    clusters(edit);
    endpoints(edit);
    outbound_routes(edit);
    egress_routes(edit);
}

fn clusters(edit: &mut Edit<'_>) {
    for (destination, cluster) in edit.set.destination_clusters_mut() {
        let Some(conf) = edit.faults.to::<Conf>(edit.rules.to.first_of(&[&destination])) else { continue };
        if let Some(balancer) = &conf.load_balancer {
            balance(&mut cluster.cluster, balancer);
        }
        // The endpoints of external services behind an egress keep their own priorities.
        if cluster.origin == Origin::Outbound && conf.locality_awareness.as_ref().is_some_and(|la| la.has_affinity()) {
            cluster.cluster.common_lb_config.get_or_insert_default().locality_config_specifier =
                Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig::default()));
        }
    }
}

fn endpoints(edit: &mut Edit<'_>) {
    let proxy = edit.proxy;
    for (destination, endpoints) in edit.set.outbound_endpoints_mut() {
        let conf = edit.faults.to::<Conf>(edit.rules.to.first_of(&[&destination]));
        let awareness = conf.as_ref().and_then(|conf| conf.locality_awareness.as_ref());
        let external = destination.kind == registry::MESH_EXTERNAL_SERVICE;
        match awareness.filter(|awareness| awareness.rebuilds() && !external) {
            Some(awareness) => {
                let rebuilt = locality::rebuild(&endpoints.endpoints, awareness, proxy);
                *endpoints.edit() = rebuilt;
            }
            None => {
                let prefer_local = !awareness.is_some_and(conf::LocalityAwareness::is_disabled);
                locality::prefer_zone(endpoints, proxy.zone, prefer_local);
            }
        }
    }
}

fn outbound_routes(edit: &mut Edit<'_>) {
    for (destination, listener) in edit.set.outbound_listeners_mut() {
        for route in listener.routes_mut() {
            let own = route.name.parse::<Kri>().ok();
            let chain: Vec<_> = own.iter().chain([&destination]).collect();
            if let Some(conf) = edit.faults.to::<Conf>(edit.rules.to.first_of(&chain)) {
                hash(route, &conf.hash_policies);
            }
        }
    }
}

/// On an egress the chain bears the identifier of its external service.
fn egress_routes(edit: &mut Edit<'_>) {
    for listener in edit.set.listeners_of_mut(Origin::Egress) {
        for chain in &mut listener.chains {
            let Ok(destination) = chain.chain.name.parse::<Kri>() else { continue };
            let Some(conf) = edit.faults.to::<Conf>(edit.rules.to.first_of(&[&destination])) else { continue };
            let Some(hcm) = chain.hcm_mut() else { continue };
            routes_mut(hcm).for_each(|route| hash(route, &conf.hash_policies));
        }
    }
}

fn balance(cluster: &mut Cluster, balancer: &LoadBalancer) {
    let number = |value: u32| UInt32Value { value };
    let long = |value: u32| UInt64Value { value: u64::from(value) };
    let (policy, config) = match &balancer.kind {
        LoadBalancerType::RoundRobin => (LbPolicy::RoundRobin, None),
        LoadBalancerType::Random => (LbPolicy::Random, None),
        LoadBalancerType::LeastRequest => {
            let config =
                balancer.least_request.as_ref().map(|conf| LeastRequestLbConfig {
                    choice_count: conf.choice_count.map(number),
                    active_request_bias: conf.active_request_bias.as_ref().and_then(|bias| bias.as_decimal()).map(
                        |bias| RuntimeDouble { default_value: bias, runtime_key: ACTIVE_REQUEST_BIAS_KEY.to_owned() },
                    ),
                    ..Default::default()
                });
            (LbPolicy::LeastRequest, config.map(LbConfig::LeastRequestLbConfig))
        }
        LoadBalancerType::RingHash => {
            let config = balancer.ring_hash.as_ref().map(|conf| RingHashLbConfig {
                minimum_ring_size: conf.min_ring_size.map(long),
                maximum_ring_size: conf.max_ring_size.map(long),
                hash_function: i32::from(match conf.hash_function {
                    Some(HashFunction::MurmurHash2) => ring_hash_lb_config::HashFunction::MurmurHash2,
                    Some(HashFunction::XxHash) | None => ring_hash_lb_config::HashFunction::XxHash,
                }),
            });
            (LbPolicy::RingHash, config.map(LbConfig::RingHashLbConfig))
        }
        LoadBalancerType::Maglev => {
            let config = balancer
                .maglev
                .as_ref()
                .map(|conf| LbConfig::MaglevLbConfig(MaglevLbConfig { table_size: conf.table_size.map(long) }));
            (LbPolicy::Maglev, config)
        }
    };
    cluster.lb_policy = policy.into();
    cluster.lb_config = config;
}

fn hash(route: &mut Route, policies: &[HashPolicy]) {
    if let Some(Action::Route(action)) = &mut route.action {
        action.hash_policy.extend(policies.iter().filter_map(hash_policy));
    }
}

/// A hash policy; `None` when what its type needs is not there.
fn hash_policy(conf: &HashPolicy) -> Option<EnvoyHashPolicy> {
    use envoy::PolicySpecifier as Specifier;
    let specifier = match conf.kind {
        HashPolicyType::Header => {
            let header_name = conf.header.as_ref()?.name.clone();
            Specifier::Header(envoy::Header { header_name, ..Default::default() })
        }
        HashPolicyType::Cookie => {
            let cookie = conf.cookie.as_ref()?;
            Specifier::Cookie(envoy::Cookie {
                name: cookie.name.clone(),
                ttl: cookie.ttl.map(|ttl| duration(ttl.to_std())),
                path: cookie.path.clone().unwrap_or_default(),
                ..Default::default()
            })
        }
        HashPolicyType::Connection => {
            let source_ip = conf.connection.as_ref()?.source_ip.unwrap_or_default();
            Specifier::ConnectionProperties(envoy::ConnectionProperties { source_ip })
        }
        HashPolicyType::QueryParameter => {
            let name = conf.query_parameter.as_ref()?.name.clone();
            Specifier::QueryParameter(envoy::QueryParameter { name })
        }
        HashPolicyType::FilterState => {
            let key = conf.filter_state.as_ref()?.key.clone();
            Specifier::FilterState(envoy::FilterState { key })
        }
    };
    Some(EnvoyHashPolicy { terminal: conf.terminal.unwrap_or_default(), policy_specifier: Some(specifier) })
}

#[cfg(test)]
mod tests;
