//! What policies come to for a proxy, an inbound, an outbound, or a route of an outbound.

use model::{Kri, registry};
use policy::matches_hash::matches_hash;
use policy::{InboundKey, ResourceRule};
use serde_json::{Value, json};
use store::State;

use super::picture::Picture;
use super::{policy_kinds, shown};
use crate::call::Call;
use crate::errors::Problem;
use crate::json;
use crate::routes::Answer;

/// The dataplane of the path, after the checks that all of these make.
fn picture(call: &Call, state: &State) -> Result<Picture, Problem> {
    call.mesh(state)?;
    call.may_access(registry::DATAPLANE)?;
    Picture::of(call, state, "Could not retrieve Dataplane")
}

fn kri(call: &Call, param: &str) -> Result<Kri, Problem> {
    call.param(param).parse().map_err(Problem::bad_request)
}

fn policies(policies: Vec<Value>) -> Answer {
    Ok(json::response(&json!({ "policies": policies })))
}

/// `…/_policies`: confs for the proxy as a whole.
pub(crate) async fn of_proxy(call: Call) -> Answer {
    let state = call.state().await?;
    let picture = picture(&call, &state)?;
    let confs = policy_kinds().filter_map(|kind| {
        let proxy = picture.rules(kind)?.proxy?;
        let origins: Vec<_> = proxy.origin.iter().map(|policy| shown::policy_origin(policy)).collect();
        Some(json!({ "kind": kind.name, "conf": proxy.conf.value(), "origins": origins }))
    });
    policies(confs.collect())
}

/// `…/_inbounds/{inbound}/_policies`: rules for what comes in there.
pub(crate) async fn of_inbound(call: Call) -> Answer {
    let state = call.state().await?;
    let picture = picture(&call, &state)?;
    let inbound = kri(&call, "inbound")?;
    let key =
        find_inbound(&picture, &inbound.section).ok_or_else(|| Problem::not_found("Could not retrieve inbound"))?;
    let confs = policy_kinds().filter_map(|kind| {
        let rules = picture.rules(kind)?;
        let rules = rules.inbound.get(&key).filter(|rules| !rules.rules.is_empty())?;
        let origins = shown::policy_origins(rules.rules.iter().map(|rule| &rule.origin));
        let rules = rules
            .rules
            .iter()
            .map(|rule| json!({ "conf": rule.conf.value(), "kri": rule.origin.policy.kri.to_string() }));
        Some(json!({ "kind": kind.name, "origins": origins, "rules": rules.collect::<Vec<_>>() }))
    });
    policies(confs.collect())
}

/// The inbound or listener with this section name, or else with this port.
fn find_inbound(picture: &Picture, section: &str) -> Option<InboundKey> {
    let inbounds = || picture.subject().inbounds();
    let named = inbounds().find(|(_, name)| *name == section);
    let found = named.or_else(|| inbounds().find(|(key, _)| key.port.to_string() == section));
    found.map(|(key, _)| key.clone())
}

/// `…/_outbounds/{outbound}/_policies`: confs for what goes there.
pub(crate) async fn of_outbound(call: Call) -> Answer {
    let state = call.state().await?;
    let picture = picture(&call, &state)?;
    of_destination(&picture, &kri(&call, "outbound")?)
}

/// `…/_outbounds/{outbound}/_routes/{route}/_policies`: confs for one route of it.
pub(crate) async fn of_route(call: Call) -> Answer {
    let state = call.state().await?;
    let picture = picture(&call, &state)?;
    kri(&call, "outbound")?;
    of_destination(&picture, &kri(&call, "route")?)
}

fn of_destination(picture: &Picture, destination: &Kri) -> Answer {
    let is_route = |kind| kind == registry::MESH_HTTP_ROUTE || kind == registry::MESH_TCP_ROUTE;
    let confs = policy_kinds().filter(|kind| !is_route(*kind)).filter_map(|kind| {
        let rules = picture.rules(kind)?;
        let rule = rules.to.compute(destination)?;
        let origins = shown::policy_origins(rule.origin.iter());
        Some(json!({ "kind": kind.name, "conf": [rule.conf.value()], "origins": origins }))
    });
    policies(confs.collect())
}

/// `…/_outbounds/{outbound}/_routes`: where requests to it go.
pub(crate) async fn routes(call: Call) -> Answer {
    let state = call.state().await?;
    let picture = picture(&call, &state)?;
    let outbound = kri(&call, "outbound")?;
    let kinds = [registry::MESH_HTTP_ROUTE, registry::MESH_TCP_ROUTE];
    let routes = kinds.into_iter().filter_map(|kind| {
        let of_kind = picture.rules(kind)?;
        let rule = of_kind.to.compute(&outbound)?;
        // A TCP route has one conf, without matches, and names no policy.
        let rules = match rule.conf.value()["rules"].as_array() {
            Some(items) => items.iter().map(|item| route_rule(rule, item)).collect(),
            None => vec![json!({ "conf": rule.conf.value()["default"], "kri": "", "matches": null })],
        };
        Some(json!({ "kind": kind.name, "origins": shown::policy_origins(rule.origin.iter()), "rules": rules }))
    });
    Ok(json::response(&json!({ "routes": routes.collect::<Vec<_>>() })))
}

/// One rule of an HTTP route.
fn route_rule(rule: &ResourceRule, item: &Value) -> Value {
    let matches = &item["matches"];
    let origin = rule.origin_by_matches.get(&matches_hash(matches));
    let kri = origin.map(|origin| origin.policy.kri.to_string()).unwrap_or_default();
    json!({ "conf": item["default"], "kri": kri, "matches": matches })
}
