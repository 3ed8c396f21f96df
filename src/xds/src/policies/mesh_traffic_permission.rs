//! MeshTrafficPermission: who may call.
//! Resource: Kuma `MeshTrafficPermission`. Touches: the RBAC filter of every filter chain that
//! terminates the mesh's TLS, on inbounds and on a zone egress.
//!
//! Everything that no policy allows is denied, also without any policy. A denial that cannot be read
//! denies everyone; a permission that cannot be read allows no one.

mod matcher;

use std::sync::Arc;

use model::kinds::mesh_traffic_permission::Conf;
use model::registry;
use policy::{InboundRule, InboundRules};

use super::{Edit, Faults, Policy};
use crate::envoy::http::rbac::v3::Rbac as HttpRbac;
use crate::envoy::network::rbac::v3::Rbac as NetworkRbac;
use crate::envoy::{core, pack};
use crate::generators::blocks::tls_inspector;
use crate::names::stat_name;
use crate::resource_set::{Chain, ListenerResource, NetworkFilter, Origin, add_http_filter_first};
use matcher::{Permission, Permissions};

const TLS_INSPECTOR: &str = "envoy.filters.listener.tls_inspector";
const TLS_SOCKET: &str = "envoy.transport_sockets.tls";

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_TRAFFIC_PERMISSION, edit };

fn edit(edit: &mut Edit<'_>) {
    if edit.proxy.identity.is_none() {
        return;
    }
    let listeners = edit.set.listeners.values_mut();
    for listener in listeners.filter(|listener| matches!(listener.origin, Origin::Inbound | Origin::Egress)) {
        let rules = listener.address().and_then(|(address, port)| edit.rules.inbound(address, u32::from(port)));
        let permissions = permissions(rules, edit.faults);
        protect(listener, &permissions);
    }
}

fn permissions(rules: Option<&InboundRules>, faults: &mut Faults) -> Permissions {
    let rules = rules.map(|rules| rules.rules.as_slice()).unwrap_or_default();
    Permissions(rules.iter().map(|rule| permission(rule, faults)).collect())
}

fn permission(rule: &InboundRule, faults: &mut Faults) -> Permission {
    let policy = &rule.origin.policy;
    let conf: Option<Arc<Conf>> = faults.read(&rule.conf, Some(policy));
    Permission { policy: policy.kri.to_string(), conf }
}

fn protect(listener: &mut ListenerResource, permissions: &Permissions) {
    let stat_prefix = format!("{}.", stat_name(listener.name()));
    for chain in listener.chains.iter_mut().filter(|chain| terminates_tls(chain)) {
        let (matcher, shadow_matcher) = (Some(permissions.matcher()), permissions.shadow_matcher());
        if let Some(hcm) = chain.hcm_mut() {
            let rbac = HttpRbac { matcher, shadow_matcher, ..Default::default() };
            add_http_filter_first(hcm, "envoy.filters.http.rbac", pack(&rbac));
        } else {
            let rbac = NetworkRbac { matcher, shadow_matcher, stat_prefix: stat_prefix.clone(), ..Default::default() };
            chain.filters.insert(0, NetworkFilter::other("envoy.filters.network.rbac", pack(&rbac)));
        }
    }
    let filters = &mut listener.listener.listener_filters;
    if permissions.name_servers() && filters.iter().all(|filter| filter.name != TLS_INSPECTOR) {
        filters.push(tls_inspector());
    }
}

fn terminates_tls(chain: &Chain) -> bool {
    chain.chain.transport_socket.as_ref().is_some_and(|socket: &core::TransportSocket| socket.name == TLS_SOCKET)
}

#[cfg(test)]
mod tests;
