//! Routes of particular clients: a route is cloned for each client that rules name, and picks the
//! client by a filter state that is set when its TLS handshake is done.

use std::cmp::Reverse;

use model::kinds::matches::{Match, SpiffeMatchType};
use policy::InboundRule;
use policy::merge::{Strategy, merge};
use serde_json::Value as Json;

use crate::envoy::core::data_source::Specifier;
use crate::envoy::core::substitution_format_string::Format;
use crate::envoy::core::{DataSource, SubstitutionFormatString};
use crate::envoy::listener::filter::ConfigType;
use crate::envoy::matcher::{
    FilterStateMatcher, StringMatcher, filter_state_matcher::Matcher, string_matcher::MatchPattern,
};
use crate::envoy::network::set_filter_state::v3::Config as SetFilterState;
use crate::envoy::route::{Route, RouteAction, VirtualHost, route::Action};
use crate::envoy::{pack, unpack};
use crate::resource_set::{Chain, NetworkFilter, route_config_mut};
use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3::{
    FilterStateValue,
    filter_state_value::{Key, Value},
};

const SET_FILTER_STATE: &str = "envoy.filters.network.set_filter_state";

/// A client that rules name, with the merge of all rules that hold for it.
pub(super) struct Client<'a, T> {
    /// Who it is.
    pub(super) matched: &'a Match,
    /// What holds for it.
    pub(super) conf: T,
}

/// The clients, the most specific first. `base` holds for all of them, and every rule for the clients
/// that its match includes.
pub(super) fn clients<'a, T: serde::de::DeserializeOwned>(
    mut stated: Vec<(&'a Match, &'a InboundRule)>,
    base: Option<&Json>,
) -> Vec<Client<'a, T>> {
    // The sort is stable, so equal matches stay from low to high precedence.
    stated.sort_by_key(|(matched, _)| specificity(matched));
    let mut clients: Vec<Client<'a, T>> = Vec::new();
    for (matched, _) in &stated {
        if clients.iter().any(|client| client.matched == *matched) {
            continue;
        }
        let mut holding: Vec<_> = stated.iter().filter(|(other, _)| subsumes(other, matched)).collect();
        holding.sort_by_key(|(other, _)| Reverse(specificity(other)));
        let confs = base.into_iter().chain(holding.iter().map(|(_, rule)| rule.conf.value()));
        if let Ok(conf) = T::deserialize(&merge(Strategy::Patch, confs)) {
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

/// The action of a route that forwards; redirects and direct responses are not for particular clients.
pub(super) fn forwarding(route: &mut Route) -> Option<&mut RouteAction> {
    match &mut route.action {
        Some(Action::Route(action)) => Some(action),
        Some(_) | None => None,
    }
}

/// Puts a clone for each client before every forwarding route of a chain. `namespace` begins the names
/// of the filter state, `change` makes the clone's difference.
pub(super) fn add<T>(chain: &mut Chain, namespace: &str, clients: &[Client<'_, T>], change: impl Fn(&mut Route, &T)) {
    if clients.is_empty() {
        return;
    }
    if let Some(config) = chain.hcm_mut().and_then(route_config_mut) {
        for host in &mut config.virtual_hosts {
            add_to(host, namespace, clients, &change);
        }
    }
    let by_sni = clients.iter().any(|client| client.matched.sni.is_some());
    set_filter_state(chain, namespace, by_sni);
}

fn add_to<T>(host: &mut VirtualHost, namespace: &str, clients: &[Client<'_, T>], change: &impl Fn(&mut Route, &T)) {
    let mut routes = Vec::with_capacity(host.routes.len() * (clients.len() + 1));
    for mut route in std::mem::take(&mut host.routes) {
        if forwarding(&mut route).is_some() {
            routes.extend(clients.iter().filter_map(|client| {
                let mut own = route.clone();
                own.r#match.get_or_insert_default().filter_state.extend(states(namespace, client.matched)?);
                change(&mut own, &client.conf);
                Some(own)
            }));
        }
        routes.push(route);
    }
    host.routes = routes;
}

fn spiffe_id_key(namespace: &str) -> String {
    format!("{namespace}.match.spiffe_id")
}

fn sni_key(namespace: &str) -> String {
    format!("{namespace}.match.sni")
}

/// The state of one client; `None` for a match of a kind that is not known, which names nobody.
fn states(namespace: &str, matched: &Match) -> Option<Vec<FilterStateMatcher>> {
    let id = matched.spiffe_id.as_ref()?;
    let pattern = match id.kind {
        SpiffeMatchType::Exact => MatchPattern::Exact(id.value.clone()),
        SpiffeMatchType::Prefix => MatchPattern::Prefix(id.value.clone()),
        SpiffeMatchType::Unknown(_) => return None,
    };
    let state = |key: String, pattern| FilterStateMatcher {
        key,
        matcher: Some(Matcher::StringMatch(StringMatcher { match_pattern: Some(pattern), ..Default::default() })),
    };
    let mut states = vec![state(spiffe_id_key(namespace), pattern)];
    if let Some(sni) = &matched.sni {
        states.push(state(sni_key(namespace), MatchPattern::Exact(sni.value.clone())));
    }
    Some(states)
}

/// Adds the states to the filter that sets them, which policies share.
fn set_filter_state(chain: &mut Chain, namespace: &str, by_sni: bool) {
    let mut values = vec![state_value(spiffe_id_key(namespace), "%DOWNSTREAM_PEER_URI_SAN%")];
    if by_sni {
        values.push(state_value(sni_key(namespace), "%REQUESTED_SERVER_NAME%"));
    }
    for filter in &mut chain.filters {
        if let NetworkFilter::Other(filter) = filter
            && filter.name == SET_FILTER_STATE
            && let Some(ConfigType::TypedConfig(config)) = &mut filter.config_type
            && let Some(mut states) = unpack::<SetFilterState>(config)
        {
            values.retain(|value| !states.on_downstream_tls_handshake.contains(value));
            states.on_downstream_tls_handshake.append(&mut values);
            *config = pack(&states);
            return;
        }
    }
    let states = SetFilterState { on_downstream_tls_handshake: values, ..Default::default() };
    chain.filters.insert(0, NetworkFilter::other(SET_FILTER_STATE, pack(&states)));
}

// `read_only` is what Kuma sends, and what Envoy releases of today still read.
#[allow(deprecated, reason = "its successor is not in every supported Envoy")]
fn state_value(key: String, format: &str) -> FilterStateValue {
    FilterStateValue {
        factory_key: "envoy.string".to_owned(),
        read_only: true,
        skip_if_empty: true,
        key: Some(Key::ObjectKey(key)),
        value: Some(Value::FormatString(SubstitutionFormatString {
            format: Some(Format::TextFormatSource(DataSource {
                specifier: Some(Specifier::InlineString(format.to_owned())),
                ..Default::default()
            })),
            ..Default::default()
        })),
        ..Default::default()
    }
}
