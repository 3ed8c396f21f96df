//! MeshAccessLog: which connections and requests are written down, where and how.
//! Resource: Kuma `MeshAccessLog`. Touches: HttpConnectionManager.access_log, TcpProxy.access_log, the
//! metadata of routes, clusters of OpenTelemetry collectors.

mod conf;
mod filter;
mod format;
mod logger;
mod routes;

use model::kinds::matches::Match;
use model::registry;
use policy::InboundRules;

use super::{Edit, Faults, Policy, ProxyTraits};
use crate::envoy::accesslog::AccessLog;
use crate::envoy::tcp_proxy::tcp_proxy::TcpAccessLogOptions;
use crate::generators::blocks::tls_inspector;
use crate::names;
use crate::resource_set::{Chain, ClusterResource, ListenerResource, Origin};
use conf::Conf;
use format::{Direction, Operators, UNKNOWN};
use logger::Loggers;

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_ACCESS_LOG, edit };

const TLS_INSPECTOR: &str = "envoy.filters.listener.tls_inspector";

fn edit(edit: &mut Edit<'_>) {
    let mut clusters = inbounds(edit);
    clusters.extend(zone_listeners(edit));
    clusters.extend(outbounds(edit));
    clusters.extend(passthrough(edit));
    clusters.into_iter().for_each(|cluster| edit.set.add_cluster(cluster));
}

fn inbounds(edit: &mut Edit<'_>) -> Vec<ClusterResource> {
    let proxy = edit.proxy;
    let mut clusters = Vec::new();
    for inbound in proxy.inbounds {
        let Some(rules) = edit.rules.inbound(&inbound.address, u32::from(inbound.port)) else { continue };
        let Some(listener) = edit.set.listeners.get_mut(&names::inbound(&inbound.section)) else { continue };
        let own = proxy.workload().unwrap_or(UNKNOWN);
        let is_named = inbound.section != inbound.port.to_string();
        let destination =
            if is_named { proxy.kri().with_section(&inbound.section).to_string() } else { own.to_owned() };
        let operators = Operators::new(proxy, Direction::Inbound, UNKNOWN, &destination, inbound.protocol.is_http());
        clusters.extend(log_rules(listener, rules, &operators, proxy, edit.faults));
    }
    clusters
}

/// Zone proxies know connections only, and log them when they begin as well.
fn zone_listeners(edit: &mut Edit<'_>) -> Vec<ClusterResource> {
    let proxy = edit.proxy;
    let mut clusters = Vec::new();
    for at in proxy.zone_listeners {
        let Some(rules) = edit.rules.inbound(&at.address, u32::from(at.port)) else { continue };
        let Some(listener) = edit.set.listener_at_mut(&at.address, at.port) else { continue };
        let operators = Operators::new(proxy, Direction::Unspecified, UNKNOWN, UNKNOWN, false);
        clusters.extend(log_rules(listener, rules, &operators, proxy, edit.faults));
        for tcp in listener.tcp_proxies_mut().filter(|tcp| !tcp.access_log.is_empty()) {
            tcp.access_log_options =
                Some(TcpAccessLogOptions { flush_access_log_on_connected: true, ..Default::default() });
        }
    }
    clusters
}

/// Every rule logs for itself: rules of an inbound are not merged.
fn log_rules(
    listener: &mut ListenerResource,
    rules: &InboundRules,
    operators: &Operators,
    proxy: &ProxyTraits<'_>,
    faults: &mut Faults,
) -> Vec<ClusterResource> {
    let mut loggers = Vec::new();
    let mut clusters = Vec::new();
    for rule in &rules.rules {
        let Some(conf) = faults.read::<Conf>(&rule.conf, Some(&rule.origin.policy)) else { continue };
        let made = Loggers::of(&conf, operators, proxy);
        let filter = rule.matched.as_ref().and_then(filter::of_client);
        loggers.extend(made.filtered(filter.as_ref()));
        clusters.extend(made.clusters);
    }
    listener.chains.iter_mut().for_each(|chain| log_chain(chain, &loggers));
    let by_sni = rules.rules.iter().filter_map(|rule| rule.matched.as_ref()).any(|m: &Match| m.sni.is_some());
    let filters = &mut listener.listener.listener_filters;
    if by_sni && filters.iter().all(|filter| filter.name != TLS_INSPECTOR) {
        filters.push(tls_inspector());
    }
    clusters
}

fn log_chain(chain: &mut Chain, loggers: &[AccessLog]) {
    if let Some(hcm) = chain.hcm_mut() {
        hcm.access_log.extend(loggers.iter().cloned());
    }
    if let Some(tcp) = chain.tcp_proxy_mut() {
        tcp.access_log.extend(loggers.iter().cloned());
    }
}

fn outbounds(edit: &mut Edit<'_>) -> Vec<ClusterResource> {
    let proxy = edit.proxy;
    let mut clusters = Vec::new();
    for (destination, listener) in edit.set.outbound_listeners_mut() {
        let source = proxy.workload().unwrap_or(UNKNOWN);
        let is_http = listener.protocol.is_http();
        let operators = Operators::new(proxy, Direction::Outbound, source, &destination.name, is_http);
        let conf = edit.faults.to::<Conf>(edit.rules.to.first_of(&[&destination])).unwrap_or_default();
        let shared = Loggers::of(&conf, &operators, proxy);
        for tcp in listener.tcp_proxies_mut() {
            tcp.access_log.extend(shared.loggers.iter().cloned());
        }
        for hcm in listener.hcms_mut() {
            clusters.extend(routes::log(hcm, &shared, &edit.rules.to, &operators, proxy, edit.faults));
        }
        clusters.extend(shared.clusters);
    }
    clusters
}

/// Connections that match no outbound follow what is said for the whole mesh.
fn passthrough(edit: &mut Edit<'_>) -> Vec<ClusterResource> {
    let proxy = edit.proxy;
    let mesh = model::Kri::mesh(proxy.mesh);
    let Some(conf) = edit.faults.to::<Conf>(edit.rules.to.get(&mesh)) else { return Vec::new() };
    let source = proxy.workload().unwrap_or(UNKNOWN);
    let mut clusters = Vec::new();
    let outbound = [names::passthrough_outbound(4), names::passthrough_outbound(6)];
    for listener in edit.set.listeners.values_mut() {
        let destination = match listener.origin {
            Origin::Transparent if outbound.iter().any(|name| name == listener.name()) => "external".to_owned(),
            Origin::DirectAccess => listener.name().to_owned(),
            _ => continue,
        };
        let operators = Operators::new(proxy, Direction::Outbound, source, &destination, false);
        let made = Loggers::of(&conf, &operators, proxy);
        listener.chains.iter_mut().for_each(|chain| log_chain(chain, &made.loggers));
        clusters.extend(made.clusters);
    }
    clusters
}

#[cfg(test)]
mod tests;
