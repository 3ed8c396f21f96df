//! MeshPassthrough: which destinations outside the mesh redirected connections may reach.
//! Resource: Kuma `MeshPassthrough`. Touches: filter chains and listener filters of the outbound
//! passthrough. Adds: one original-destination cluster for each destination. Removes: the clusters
//! through which everything passes.

mod chains;
mod matchers;

use model::kinds::mesh_passthrough::{Conf, PassthroughMode};
use model::registry;
use prost::Message;

use super::{Edit, Policy};
use crate::bootstrap::Feature;
use crate::envoy::listener::listener_filter::ConfigType;
use crate::envoy::listener::listener_filter_chain_match_predicate::{MatchSet, Rule};
use crate::envoy::listener::{ListenerFilter, ListenerFilterChainMatchPredicate};
use crate::envoy::{Any, pack, types};
use crate::generators::transparent_proxy::IpFamily;
use crate::names::passthrough_outbound;
use matchers::Matchers;

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_PASSTHROUGH, edit };

fn edit(edit: &mut Edit<'_>) {
    let is_redirected = edit.proxy.passthrough.is_some() && !edit.proxy.metadata.has(Feature::BindOutbounds);
    let Some(rules) = edit.rules.proxy.as_ref().filter(|_| is_redirected) else { return };
    let Some(conf) = edit.faults.read::<Conf>(&rules.conf, rules.origin.last()) else { return };
    let items = match conf.passthrough_mode.as_ref().unwrap_or(&PassthroughMode::Matched) {
        PassthroughMode::All => return,
        PassthroughMode::Matched => conf.append_match.as_deref().unwrap_or_default(),
        // What is not known is not let through.
        PassthroughMode::None | PassthroughMode::Unknown(_) => &[],
    };
    for version in [4, 6] {
        edit.set.clusters.remove(&passthrough_outbound(version));
    }
    let (matchers, refused) = Matchers::of(items);
    for port in refused {
        let message = format!("you cannot configure http, http2, grpc on the same port {port}");
        edit.faults.blame(rules.origin.last(), &message);
    }
    for (family, version) in [(IpFamily::V4, 4), (IpFamily::V6, 6)] {
        replace_chains(edit, &matchers, family, &passthrough_outbound(version));
    }
}

/// Lets a passthrough reach what matches; without a match its only chain leads to no cluster.
fn replace_chains(edit: &mut Edit<'_>, matchers: &Matchers, family: IpFamily, name: &str) {
    let Some(listener) = edit.set.listeners.get_mut(name) else { return };
    let mut seen = std::collections::BTreeSet::new();
    let mut made = Vec::new();
    let mut clusters = Vec::new();
    for matcher in matchers.list.iter().filter(|matcher| matcher.is_of(family)) {
        let chain = chains::chain(matcher, edit.proxy.internal);
        // Envoy refuses a listener with two chains of one match (addresses may be written in two ways).
        let condition = chain.chain.filter_chain_match.as_ref().map(Message::encode_to_vec);
        if seen.insert(condition) {
            made.push(chain);
            clusters.extend(chains::clusters(matcher));
        }
    }
    if made.is_empty() {
        return;
    }
    listener.chains = made;
    let filters = &mut listener.listener.listener_filters;
    for filter in inspectors(&matchers.mysql_ports()) {
        if filters.iter().all(|present| present.name != filter.name) {
            filters.push(filter);
        }
    }
    clusters.into_iter().for_each(|cluster| edit.set.add_cluster(cluster));
}

/// What finds out where a connection goes and what it speaks. A MySQL server speaks first, so there
/// waiting for the client would last for ever.
fn inspectors(mysql_ports: &[u16]) -> [ListenerFilter; 3] {
    use envoy_types::pb::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;
    use envoy_types::pb::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
    use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
    let filter = |name: &str, config: Any, filter_disabled| ListenerFilter {
        name: format!("envoy.filters.listener.{name}"),
        config_type: Some(ConfigType::TypedConfig(config)),
        filter_disabled,
    };
    let disabled = is_any_of(mysql_ports);
    [
        filter("original_dst", pack(&OriginalDst::default()), None),
        filter("tls_inspector", pack(&TlsInspector::default()), disabled.clone()),
        filter("http_inspector", pack(&HttpInspector::default()), disabled),
    ]
}

fn is_any_of(ports: &[u16]) -> Option<ListenerFilterChainMatchPredicate> {
    let is = |port: &u16| {
        let start = i32::from(*port);
        let range = types::Int32Range { start, end: start + 1 };
        ListenerFilterChainMatchPredicate { rule: Some(Rule::DestinationPortRange(range)) }
    };
    match ports {
        [] => None,
        [port] => Some(is(port)),
        ports => {
            let rules = ports.iter().map(is).collect();
            Some(ListenerFilterChainMatchPredicate { rule: Some(Rule::OrMatch(MatchSet { rules })) })
        }
    }
}

#[cfg(test)]
mod tests;
