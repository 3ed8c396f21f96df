//! MeshTimeout: how long connections, requests and streams may take.
//! Resource: Kuma `MeshTimeout`. Touches: Cluster.connect_timeout, HttpProtocolOptions,
//! HttpConnectionManager, TcpProxy.idle_timeout, RouteAction.timeout and .idle_timeout.
//!
//! Runs without a policy as well: what none states has the value of [`Timeouts::of`].

mod clients;

use std::sync::Arc;

use model::kinds::duration::GoDuration;
use model::kinds::mesh_timeout::Conf;
use model::{Kri, registry};
use policy::InboundRules;

use super::client_routes::forwarding;
use super::{Edit, Faults, Policy};
use crate::envoy::duration;
use crate::envoy::route::Route;
use crate::names;
use crate::protocol::Protocol;
use crate::resource_set::{Chain, ClusterResource, routes_mut};

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_TIMEOUT, edit };

/// Every timeout, with its default where the conf has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timeouts {
    connection: GoDuration,
    idle: GoDuration,
    request: GoDuration,
    stream_idle: GoDuration,
    max_stream: GoDuration,
    max_connection: GoDuration,
    request_headers: GoDuration,
    /// Whether the conf itself states how long a stream may idle.
    states_stream_idle: bool,
}

impl Timeouts {
    fn of(conf: &Conf) -> Self {
        let http = conf.http.clone().unwrap_or_default();
        let zero = GoDuration::default();
        Self {
            connection: conf.connection_timeout.unwrap_or(GoDuration::from_secs(5)),
            idle: conf.idle_timeout.unwrap_or(GoDuration::from_secs(3600)),
            request: http.request_timeout.unwrap_or(GoDuration::from_secs(15)),
            stream_idle: http.stream_idle_timeout.unwrap_or(GoDuration::from_secs(1800)),
            max_stream: http.max_stream_duration.unwrap_or(zero),
            max_connection: http.max_connection_duration.unwrap_or(zero),
            request_headers: http.request_headers_timeout.unwrap_or(zero),
            states_stream_idle: http.stream_idle_timeout.is_some(),
        }
    }

    fn edit_cluster(&self, cluster: &mut ClusterResource, protocol: Protocol) {
        cluster.cluster.connect_timeout = Some(duration(self.connection.to_std()));
        if matches!(protocol, Protocol::Http | Protocol::Http2) {
            let options = cluster.http_options_mut().common_http_protocol_options.get_or_insert_default();
            options.idle_timeout = Some(duration(self.idle.to_std()));
            options.max_stream_duration = Some(duration(self.max_stream.to_std()));
            options.max_connection_duration = Some(duration(self.max_connection.to_std()));
        }
    }

    fn edit_chain(&self, chain: &mut Chain) {
        if let Some(hcm) = chain.hcm_mut() {
            // Connections of clients are bounded by their requests and streams.
            hcm.common_http_protocol_options.get_or_insert_default().idle_timeout = Some(duration(Default::default()));
            hcm.request_headers_timeout = Some(duration(self.request_headers.to_std()));
            routes_mut(hcm).for_each(|route| self.edit_route(route));
        }
        if let Some(proxy) = chain.tcp_proxy_mut() {
            proxy.idle_timeout = Some(duration(self.idle.to_std()));
        }
    }

    fn edit_route(&self, route: &mut Route) {
        let Some(action) = forwarding(route) else { return };
        action.timeout = Some(duration(self.request.to_std()));
        if self.states_stream_idle || action.idle_timeout.is_none() {
            action.idle_timeout = Some(duration(self.stream_idle.to_std()));
        }
    }
}

fn edit(edit: &mut Edit<'_>) {
    inbounds(edit);
    zone_listeners(edit);
    destinations(edit);
}

/// The conf for all clients of an inbound: the defaults when no policy has a rule for the inbound,
/// nothing when all rules are for particular clients.
fn conf_for_all(rules: Option<&InboundRules>, faults: &mut Faults) -> Option<Arc<Conf>> {
    match rules {
        Some(rules) if rules.rules.iter().all(|rule| rule.matched.is_some()) && !rules.rules.is_empty() => None,
        Some(rules) => Some(faults.catch_all(rules).unwrap_or_default()),
        None => Some(Arc::default()),
    }
}

fn inbounds(edit: &mut Edit<'_>) {
    for inbound in edit.proxy.inbounds {
        let name = names::inbound(&inbound.section);
        let Some(listener) = edit.set.listeners.get_mut(&name) else { continue };
        let rules = edit.rules.inbound(&inbound.address, u32::from(inbound.port));
        if let Some(conf) = conf_for_all(rules, edit.faults) {
            let timeouts = Timeouts::of(&conf);
            listener.chains.iter_mut().for_each(|chain| timeouts.edit_chain(chain));
            if let Some(cluster) = edit.set.clusters.get_mut(&name) {
                timeouts.edit_cluster(cluster, inbound.protocol);
            }
        }
        if let Some(rules) = rules {
            clients::edit(rules, listener.chains.iter_mut(), edit.faults);
        }
    }
}

/// Listeners of zone proxies: what is stated for all, and on top of it what is stated for the server
/// name of a chain. Their clusters follow the rules for destinations.
fn zone_listeners(edit: &mut Edit<'_>) {
    for at in edit.proxy.zone_listeners {
        let Some(rules) = edit.rules.inbound(&at.address, u32::from(at.port)) else { continue };
        let Some(listener) = edit.set.listener_at_mut(&at.address, at.port) else { continue };
        if rules.rules.is_empty() {
            continue;
        }
        for chain in &mut listener.chains {
            let names = chain.chain.filter_chain_match.as_ref().map(|m| m.server_names.clone()).unwrap_or_default();
            let conf = clients::conf_of_server_names(rules, &names, edit.faults);
            if let Some(conf) = conf {
                Timeouts::of(&conf).edit_chain(chain);
            }
        }
        clients::edit(rules, listener.chains.iter_mut(), edit.faults);
    }
}

fn destinations(edit: &mut Edit<'_>) {
    let conf = |chain: &[&Kri], faults: &mut Faults| -> Timeouts {
        Timeouts::of(&faults.to::<Conf>(edit.rules.to.first_of(chain)).unwrap_or_default())
    };
    for (destination, cluster) in edit.set.destination_clusters_mut() {
        let protocol = cluster.protocol;
        conf(&[&destination], edit.faults).edit_cluster(cluster, protocol);
    }
    for (destination, listener) in edit.set.outbound_listeners_mut() {
        let timeouts = conf(&[&destination], edit.faults);
        listener.chains.iter_mut().for_each(|chain| timeouts.edit_chain(chain));
        for route in listener.routes_mut() {
            let Ok(own) = route.name.parse::<Kri>() else { continue };
            let timeouts = conf(&[&own, &destination], edit.faults);
            if let Some(action) = forwarding(route) {
                action.timeout = Some(duration(timeouts.request.to_std()));
                action.idle_timeout = Some(duration(timeouts.stream_idle.to_std()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
