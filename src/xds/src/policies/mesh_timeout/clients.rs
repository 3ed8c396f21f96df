//! Timeouts that depend on who calls: routes are cloned for each client that rules name, and pick the
//! client by a filter state that is set when its TLS handshake is done.

use std::cmp::Reverse;
use std::sync::Arc;

use model::kinds::matches::{Match, SpiffeMatchType};
use model::kinds::mesh_timeout::Conf;
use policy::merge::{Strategy, merge};
use policy::{InboundRule, InboundRules};
use serde::Deserialize;

use super::super::Faults;
use super::forwarding;
use crate::envoy::core::data_source::Specifier;
use crate::envoy::core::substitution_format_string::Format;
use crate::envoy::core::{DataSource, SubstitutionFormatString};
use crate::envoy::matcher::{
    FilterStateMatcher, StringMatcher, filter_state_matcher::Matcher, string_matcher::MatchPattern,
};
use crate::envoy::network::set_filter_state::v3::Config as SetFilterState;
use crate::envoy::route::{Route, VirtualHost};
use crate::envoy::{duration, pack};
use crate::resource_set::{Chain, NetworkFilter, route_config_mut};
use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3::{
    FilterStateValue,
    filter_state_value::{Key, Value},
};

const SPIFFE_ID_KEY: &str = "kuma.mesh_timeout.match.spiffe_id";
const SNI_KEY: &str = "kuma.mesh_timeout.match.sni";
const SET_FILTER_STATE: &str = "envoy.filters.network.set_filter_state";

/// A client that rules name, with the timeouts that hold for it.
struct Client<'a> {
    matched: &'a Match,
    conf: Conf,
}

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
    let clients = clients(rules, faults);
    if clients.is_empty() {
        return;
    }
    let by_sni = clients.iter().any(|client| client.matched.sni.is_some());
    for chain in chains {
        if let Some(config) = chain.hcm_mut().and_then(route_config_mut) {
            config.virtual_hosts.iter_mut().for_each(|host| add_routes(host, &clients));
        }
        if chain.filters.first().is_none_or(|filter| filter.name() != SET_FILTER_STATE) {
            chain.filters.insert(0, NetworkFilter::other(SET_FILTER_STATE, pack(&filter_state(by_sni))));
        }
    }
}

/// The clients, the most specific first, each with the merge of all rules that hold for it.
fn clients<'a>(rules: &'a InboundRules, faults: &mut Faults) -> Vec<Client<'a>> {
    let mut stated: Vec<(&Match, &InboundRule)> = Vec::new();
    for rule in &rules.rules {
        let Some(matched) = rule.matched.as_ref().filter(|matched| matched.spiffe_id.is_some()) else { continue };
        let http = faults.read::<Conf>(&rule.conf, Some(&rule.origin.policy)).and_then(|conf| conf.http.clone());
        if http.is_some_and(|http| http.request_timeout.is_some() || http.stream_idle_timeout.is_some()) {
            stated.push((matched, rule));
        }
    }
    // Least specific last; the sort is stable, so equal matches stay from low to high precedence.
    stated.sort_by_key(|(matched, _)| specificity(matched));
    let mut clients: Vec<Client<'a>> = Vec::new();
    for (matched, _) in &stated {
        if clients.iter().any(|client| client.matched == *matched) {
            continue;
        }
        let mut holding: Vec<_> = stated.iter().filter(|(other, _)| subsumes(other, matched)).collect();
        holding.sort_by_key(|(other, _)| Reverse(specificity(other)));
        let conf = merge(Strategy::Patch, holding.iter().map(|(_, rule)| rule.conf.value()));
        if let Ok(conf) = Conf::deserialize(&conf) {
            clients.push(Client { matched, conf });
        }
    }
    clients
}

/// Exact before prefix, with server name before without, long prefixes before short ones.
fn specificity(matched: &Match) -> (u8, bool, Reverse<usize>) {
    let (class, length) = match matched.spiffe_id.as_ref() {
        Some(id) if id.kind == SpiffeMatchType::Exact => (0, 0),
        Some(id) => (1, id.value.len()),
        None => (2, 0),
    };
    (class, matched.sni.is_none(), Reverse(length))
}

/// Whether every client that `inner` names is one that `outer` names.
fn subsumes(outer: &Match, inner: &Match) -> bool {
    let (Some(outer_id), Some(inner_id)) = (&outer.spiffe_id, &inner.spiffe_id) else { return false };
    let id = match outer_id.kind {
        SpiffeMatchType::Exact => inner_id == outer_id,
        SpiffeMatchType::Prefix => inner_id.value.starts_with(&outer_id.value),
        SpiffeMatchType::Unknown(_) => false,
    };
    id && (outer.sni.is_none() || outer.sni == inner.sni)
}

fn add_routes(host: &mut VirtualHost, clients: &[Client<'_>]) {
    let mut routes = Vec::with_capacity(host.routes.len() * (clients.len() + 1));
    for mut route in std::mem::take(&mut host.routes) {
        if forwarding(&mut route).is_some() {
            routes.extend(clients.iter().filter_map(|client| route_of(&route, client)));
        }
        routes.push(route);
    }
    host.routes = routes;
}

/// The route for one client: only what its conf states differs. `None` for a match of a kind that is
/// not known, which names nobody.
fn route_of(route: &Route, client: &Client<'_>) -> Option<Route> {
    let mut route = route.clone();
    let id = client.matched.spiffe_id.as_ref()?;
    let pattern = match id.kind {
        SpiffeMatchType::Exact => MatchPattern::Exact(id.value.clone()),
        SpiffeMatchType::Prefix => MatchPattern::Prefix(id.value.clone()),
        SpiffeMatchType::Unknown(_) => return None,
    };
    let states = &mut route.r#match.get_or_insert_default().filter_state;
    states.push(state_matcher(SPIFFE_ID_KEY, pattern));
    if let Some(sni) = &client.matched.sni {
        states.push(state_matcher(SNI_KEY, MatchPattern::Exact(sni.value.clone())));
    }
    let http = client.conf.http.as_ref()?;
    let action = forwarding(&mut route)?;
    if let Some(request) = http.request_timeout {
        action.timeout = Some(duration(request.to_std()));
    }
    if let Some(stream_idle) = http.stream_idle_timeout {
        action.idle_timeout = Some(duration(stream_idle.to_std()));
    }
    Some(route)
}

fn state_matcher(key: &str, pattern: MatchPattern) -> FilterStateMatcher {
    let matcher = Matcher::StringMatch(StringMatcher { match_pattern: Some(pattern), ..Default::default() });
    FilterStateMatcher { key: key.to_owned(), matcher: Some(matcher) }
}

// `read_only` is what Kuma sends, and what Envoy releases of today still read.
#[allow(deprecated, reason = "its successor is not in every supported Envoy")]
fn filter_state(by_sni: bool) -> SetFilterState {
    let value = |key: &str, format: &str| FilterStateValue {
        factory_key: "envoy.string".to_owned(),
        read_only: true,
        skip_if_empty: true,
        key: Some(Key::ObjectKey(key.to_owned())),
        value: Some(Value::FormatString(SubstitutionFormatString {
            format: Some(Format::TextFormatSource(DataSource {
                specifier: Some(Specifier::InlineString(format.to_owned())),
                ..Default::default()
            })),
            ..Default::default()
        })),
        ..Default::default()
    };
    let mut values = vec![value(SPIFFE_ID_KEY, "%DOWNSTREAM_PEER_URI_SAN%")];
    if by_sni {
        values.push(value(SNI_KEY, "%REQUESTED_SERVER_NAME%"));
    }
    SetFilterState { on_downstream_tls_handshake: values, ..Default::default() }
}
