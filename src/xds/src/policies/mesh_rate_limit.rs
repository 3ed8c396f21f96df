//! MeshRateLimit: how many requests and connections an inbound takes.
//! Resource: Kuma `MeshRateLimit`. Touches: network filters, HTTP filters and routes of inbounds and of
//! zone proxies. Every Envoy counts for itself.

use model::kinds::matches::Match;
use model::kinds::mesh_rate_limit::{Conf, LocalHttp, Rate};
use model::registry;
use policy::merge::{Strategy, merge};
use policy::{InboundRule, InboundRules};

use super::client_routes::{add, clients, forwarding};
use super::{Edit, Faults, Policy};
use crate::envoy::core::header_value_option::HeaderAppendAction;
use crate::envoy::core::{HeaderValue, HeaderValueOption, RuntimeFractionalPercent};
use crate::envoy::http::local_ratelimit::v3::LocalRateLimit as HttpRateLimit;
use crate::envoy::network::local_ratelimit::v3::LocalRateLimit as TcpRateLimit;
use crate::envoy::route::Route;
use crate::envoy::types::{FractionalPercent, HttpStatus, TokenBucket};
use crate::envoy::{UInt32Value, duration, pack};
use crate::resource_set::{Chain, NetworkFilter, add_http_filter_last, routes_mut};

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_RATE_LIMIT, edit };

const HTTP_FILTER: &str = "envoy.filters.http.local_ratelimit";
const TCP_FILTER: &str = "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit";
const HTTP_STAT_PREFIX: &str = "rate_limit";
/// Begins the names of the filter state by which routes know the client.
const NAMESPACE: &str = "kuma.mesh_rate_limit";

fn edit(edit: &mut Edit<'_>) {
    for inbound in edit.proxy.inbounds {
        let Some(rules) = edit.rules.inbound(&inbound.address, u32::from(inbound.port)) else { continue };
        let Some(listener) = edit.set.listener_at_mut(&inbound.address, inbound.port) else { continue };
        listener.chains.iter_mut().for_each(|chain| limit(chain, rules, &[], edit.faults));
    }
    for at in edit.proxy.zone_listeners {
        let Some(rules) = edit.rules.inbound(&at.address, u32::from(at.port)) else { continue };
        let Some(listener) = edit.set.listener_at_mut(&at.address, at.port) else { continue };
        for chain in &mut listener.chains {
            let names = chain.chain.filter_chain_match.as_ref().map(|m| m.server_names.clone()).unwrap_or_default();
            limit(chain, rules, &names, edit.faults);
        }
    }
}

/// Limits a chain: by what is stated for all, and where the chain has server names for these; then for
/// particular clients.
fn limit(chain: &mut Chain, rules: &InboundRules, server_names: &[String], faults: &mut Faults) {
    let applies = |matched: Option<&Match>| match matched {
        None => true,
        Some(Match { spiffe_id: None, sni: Some(sni) }) => server_names.contains(&sni.value),
        Some(_) => false,
    };
    let mut stated: Vec<_> = rules.rules.iter().filter(|rule| applies(rule.matched.as_ref())).collect();
    stated.sort_by_key(|rule| rule.matched.is_some());
    let base = policy::Conf::new(merge(Strategy::Patch, stated.iter().map(|rule| rule.conf.value())));
    let conf = faults.read::<Conf>(&base, stated.last().map(|rule| &rule.origin.policy)).unwrap_or_default();
    let local = conf.local.clone().unwrap_or_default();
    let tcp = local.tcp.filter(|tcp| tcp.disabled != Some(true)).and_then(|tcp| tcp.connection_rate);
    if let Some(rate) = tcp {
        limit_connections(chain, &rate);
    }
    let of_clients: Vec<(&Match, &InboundRule)> = rules
        .rules
        .iter()
        .filter_map(|rule| Some((rule.matched.as_ref().filter(|matched| matched.spiffe_id.is_some())?, rule)))
        .collect();
    let clients = clients::<Conf>(of_clients, Some(base.value()));
    let is_limited = http_of(&conf).is_some() || clients.iter().any(|client| http_of(&client.conf).is_some());
    let Some(hcm) = chain.hcm_mut().filter(|_| is_limited) else { return };
    if hcm.http_filters.iter().all(|filter| filter.name != HTTP_FILTER) {
        let config = HttpRateLimit { stat_prefix: HTTP_STAT_PREFIX.to_owned(), ..Default::default() };
        add_http_filter_last(hcm, HTTP_FILTER, pack(&config));
    }
    routes_mut(hcm).for_each(|route| limit_requests(route, &conf));
    add(chain, NAMESPACE, &clients, limit_requests);
}

/// The limit of requests that a conf states and does not switch off.
fn http_of(conf: &Conf) -> Option<(&LocalHttp, &Rate)> {
    let http = conf.local.as_ref()?.http.as_ref().filter(|http| http.disabled != Some(true))?;
    Some((http, http.request_rate.as_ref()?))
}

fn limit_connections(chain: &mut Chain, rate: &Rate) {
    let config = TcpRateLimit {
        stat_prefix: "tcp_rate_limit".to_owned(),
        token_bucket: Some(bucket(rate)),
        ..Default::default()
    };
    chain.filters.retain(|filter| filter.name() != TCP_FILTER);
    chain.filters.insert(0, NetworkFilter::other(TCP_FILTER, pack(&config)));
}

fn bucket(rate: &Rate) -> TokenBucket {
    TokenBucket {
        max_tokens: rate.num,
        tokens_per_fill: Some(UInt32Value { value: rate.num }),
        fill_interval: Some(duration(rate.interval.to_std())),
    }
}

fn limit_requests(route: &mut Route, conf: &Conf) {
    if forwarding(route).is_none() {
        return;
    }
    match http_of(conf) {
        Some((http, rate)) => {
            let config = pack(&request_limit(http, rate));
            route.typed_per_filter_config.insert(HTTP_FILTER.to_owned(), config);
        }
        None => {
            route.typed_per_filter_config.remove(HTTP_FILTER);
        }
    }
}

fn request_limit(http: &LocalHttp, rate: &Rate) -> HttpRateLimit {
    let always = |key: &str| RuntimeFractionalPercent {
        default_value: Some(FractionalPercent { numerator: 100, ..Default::default() }),
        runtime_key: key.to_owned(),
    };
    let answer = http.on_rate_limit.clone().unwrap_or_default();
    let headers = answer.headers.unwrap_or_default();
    let option = |name: &str, value: &str, action: HeaderAppendAction| HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: value.to_owned(), ..Default::default() }),
        append_action: action.into(),
        ..Default::default()
    };
    let added = headers.add.iter().flatten();
    let set = headers.set.iter().flatten();
    HttpRateLimit {
        stat_prefix: HTTP_STAT_PREFIX.to_owned(),
        status: answer.status.map(|code| HttpStatus { code: i32::try_from(code).unwrap_or_default() }),
        token_bucket: Some(bucket(rate)),
        filter_enabled: Some(always("local_rate_limit_enabled")),
        filter_enforced: Some(always("local_rate_limit_enforced")),
        response_headers_to_add: added
            .map(|h| option(&h.name, &h.value, HeaderAppendAction::AppendIfExistsOrAdd))
            .chain(set.map(|h| option(&h.name, &h.value, HeaderAppendAction::OverwriteIfExistsOrAdd)))
            .collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policies::fixtures::{World, listener};

    fn edited(rules: Value) -> crate::resource_set::ResourceSet {
        let spec = json!({"targetRef": {"kind": "Dataplane"}, "rules": rules});
        World::new().policy(POLICY.kind, spec).edited_by(POLICY).0
    }

    fn http(num: u32) -> Value {
        json!({"local": {"http": {"requestRate": {"num": num, "interval": "10s"}, "onRateLimit": {"status": 429}}}})
    }

    /// Tokens of each route; none where it is not limited.
    fn tokens(set: &crate::resource_set::ResourceSet) -> Vec<Value> {
        let inbound = listener(set, "self_inbound_dp_80");
        let filters = inbound["filterChains"][0]["filters"].as_array().expect("filters").clone();
        let hcm = filters.last().expect("HTTP")["typedConfig"].clone();
        let routes = hcm["routeConfig"]["virtualHosts"][0]["routes"].as_array().expect("routes").clone();
        routes.iter().map(|r| r["typedPerFilterConfig"][HTTP_FILTER]["tokenBucket"]["maxTokens"].clone()).collect()
    }

    #[test]
    fn requests_are_limited_on_routes() {
        let set = edited(json!([{"default": http(100)}]));
        assert_eq!(tokens(&set), [json!(100)]);
        let inbound = listener(&set, "self_inbound_dp_80");
        let hcm = &inbound["filterChains"][0]["filters"][0]["typedConfig"];
        assert_eq!(hcm["httpFilters"][0]["name"], HTTP_FILTER);
        let route = &hcm["routeConfig"]["virtualHosts"][0]["routes"][0];
        let config = &route["typedPerFilterConfig"][HTTP_FILTER];
        assert_eq!(config["status"], json!({"code": "TooManyRequests"}));
        assert_eq!(config["filterEnforced"]["runtimeKey"], "local_rate_limit_enforced");
    }

    #[test]
    fn clients_have_limits_of_their_own() {
        let client = json!({"spiffeID": {"type": "Prefix", "value": "spiffe://td/ns/clients"}});
        let off = json!({"local": {"http": {"disabled": true}}});
        let exact = json!({"spiffeID": {"type": "Exact", "value": "spiffe://td/ns/clients/a"}});
        let set = edited(json!([
            {"default": http(100)}, {"matches": [client], "default": http(5)}, {"matches": [exact], "default": off}]));
        assert_eq!(tokens(&set), [Value::Null, json!(5), json!(100)]);
    }

    #[test]
    fn connections_are_limited_by_a_network_filter() {
        let tcp = json!({"local": {"tcp": {"connectionRate": {"num": 3, "interval": "1s"}}}});
        let set = edited(json!([{"default": tcp}]));
        for name in ["self_inbound_dp_80", "self_inbound_dp_db"] {
            let filter = listener(&set, name)["filterChains"][0]["filters"][0].clone();
            assert_eq!(
                (&filter["name"], &filter["typedConfig"]["tokenBucket"]["maxTokens"]),
                (&json!(TCP_FILTER), &json!(3))
            );
        }
    }

    #[test]
    fn what_is_switched_off_limits_nothing() {
        let off = json!({"local": {"http": {"disabled": true, "requestRate": {"num": 1, "interval": "1s"}}}});
        assert_eq!(edited(json!([{"default": off}])), World::new().set);
    }
}
