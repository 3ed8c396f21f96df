//! Timeouts that depend on who calls.

use std::sync::Arc;

use model::kinds::matches::Match;
use model::kinds::mesh_timeout::Conf;
use policy::merge::{Strategy, merge};
use policy::{InboundRule, InboundRules};

use super::super::Faults;
use super::super::client_routes::{add, clients, forwarding};
use crate::envoy::duration;
use crate::envoy::route::Route;
use crate::resource_set::Chain;

/// Begins the names of the filter state by which routes know the client.
const NAMESPACE: &str = "kuma.mesh_timeout";

/// The conf of a chain of a zone proxy with these server names: what is stated for all, overridden by
/// what is stated for the server name alone. `None` when neither is stated.
pub(super) fn conf_of_server_names(rules: &InboundRules, names: &[String], faults: &mut Faults) -> Option<Arc<Conf>> {
    let applies = |matched: Option<&Match>| match matched {
        None => true,
        Some(Match { spiffe_id: None, sni: Some(sni) }) => names.contains(&sni.value),
        Some(_) => false,
    };
    let mut stated: Vec<_> = rules.rules.iter().filter(|rule| applies(rule.matched.as_ref())).collect();
    stated.sort_by_key(|rule| rule.matched.is_some());
    let last = stated.last()?;
    let conf = policy::Conf::new(merge(Strategy::Patch, stated.iter().map(|rule| rule.conf.value())));
    faults.read(&conf, Some(&last.origin.policy))
}

/// Adds the routes of particular clients before those of all.
pub(super) fn edit<'c>(rules: &InboundRules, chains: impl Iterator<Item = &'c mut Chain>, faults: &mut Faults) {
    let mut stated: Vec<(&Match, &InboundRule)> = Vec::new();
    for rule in &rules.rules {
        let Some(matched) = rule.matched.as_ref().filter(|matched| matched.spiffe_id.is_some()) else { continue };
        let http = faults.read::<Conf>(&rule.conf, Some(&rule.origin.policy)).and_then(|conf| conf.http.clone());
        if http.is_some_and(|http| http.request_timeout.is_some() || http.stream_idle_timeout.is_some()) {
            stated.push((matched, rule));
        }
    }
    let clients = clients::<Conf>(stated, None);
    for chain in chains {
        add(chain, NAMESPACE, &clients, change);
    }
}

/// Only what the conf states differs.
fn change(route: &mut Route, conf: &Conf) {
    let (Some(http), Some(action)) = (&conf.http, forwarding(route)) else { return };
    if let Some(request) = http.request_timeout {
        action.timeout = Some(duration(request.to_std()));
    }
    if let Some(stream_idle) = http.stream_idle_timeout {
        action.idle_timeout = Some(duration(stream_idle.to_std()));
    }
}
