//! `_rules`: all rules of a dataplane, by kind of policy.

use std::collections::BTreeMap;

use model::kinds::dataplane::GatewayType;
use model::registry;
use policy::matches_hash::matches_hash;
use policy::{InboundKey, InboundRules, ResourceRules, Rules};
use serde_json::{Map, Value, json};

use super::picture::Picture;
use super::{policy_kinds, shown};
use crate::call::Call;
use crate::json;
use crate::routes::Answer;

/// `GET …/dataplanes/{name}/_rules`.
pub(crate) async fn rules(call: Call) -> Answer {
    let state = call.state().await?;
    call.mesh(&state)?;
    call.may_access(registry::DATAPLANE)?;
    let picture = Picture::of(&call, &state, "Could not retrieve Dataplane")?;
    let mut matches = BTreeMap::new();
    let mut all = Vec::new();
    for kind in policy_kinds() {
        let Some(rules) = picture.rules(kind) else { continue };
        if kind == registry::MESH_HTTP_ROUTE {
            matches = http_matches(&rules.to);
        }
        all.extend(of_kind(&picture, &rules));
    }
    let matches: Vec<_> =
        matches.into_iter().map(|(hash, matched)| json!({ "hash": hash, "match": matched })).collect();
    let body = json!({ "httpMatches": matches, "resource": shown::meta(picture.resource()), "rules": all });
    Ok(json::response(&body))
}

/// The rules of one kind; `None` when there are none.
fn of_kind(picture: &Picture, rules: &Rules) -> Option<Value> {
    let inbound = inbound_rules(picture, rules);
    let to = to_rules(&rules.to);
    if rules.proxy.is_none() && inbound.is_empty() && to.is_empty() {
        return None;
    }
    let mut shown = Map::new();
    shown.insert("type".to_owned(), json!(rules.kind.name));
    shown.insert("warnings".to_owned(), json!([]));
    shown.insert("inboundRules".to_owned(), Value::Array(inbound));
    shown.insert("toResourceRules".to_owned(), Value::Array(to));
    if let Some(proxy) = &rules.proxy {
        let origin: Vec<_> = proxy.origin.iter().map(|policy| shown::meta(&policy.resource)).collect();
        shown.insert("proxyRule".to_owned(), json!({ "conf": proxy.conf.value(), "origin": origin }));
    }
    Some(Value::Object(shown))
}

fn inbound_rules(picture: &Picture, rules: &Rules) -> Vec<Value> {
    let mut all: Vec<_> = rules.inbound.iter().filter(|(_, rules)| !rules.rules.is_empty()).collect();
    all.sort_by_key(|(key, _)| (key.port, &key.address));
    all.into_iter()
        .map(|(key, rules)| json!({ "inbound": inbound(picture, key), "rules": rules_of_inbound(rules) }))
        .collect()
}

/// An inbound by port, and by name if it has one. Listeners of zone proxies show a port only.
fn inbound(picture: &Picture, key: &InboundKey) -> Value {
    let networking = picture.dataplane().networking.as_ref();
    let gateway = networking.and_then(|n| n.gateway.as_ref()).filter(|g| g.kind == GatewayType::Delegated);
    let mut shown = json!({ "port": key.port, "tags": gateway.map(|gateway| &gateway.tags) });
    let named = networking.and_then(|n| {
        n.inbound.iter().find(|inbound| inbound.port == key.port && *n.inbound_address(inbound) == *key.address)
    });
    if let Some(inbound) = named.filter(|inbound| !inbound.name.is_empty()) {
        shown["name"] = json!(inbound.name);
    }
    shown
}

fn rules_of_inbound(rules: &InboundRules) -> Vec<Value> {
    let show = |rule: &policy::InboundRule| {
        let mut shown = json!({ "conf": [rule.conf.value()], "origin": [shown::rule_origin(&rule.origin)] });
        if let Some(matched) = &rule.matched {
            shown["match"] = json!(matched);
        }
        shown
    };
    rules.rules.iter().map(show).collect()
}

fn to_rules(rules: &ResourceRules) -> Vec<Value> {
    let mut all: Vec<_> = rules.iter().map(|(_, rule)| rule).collect();
    all.sort_by_key(|rule| (&rule.resource.key.name, &rule.section));
    all.into_iter()
        .map(|rule| {
            json!({
                "conf": [rule.conf.value()],
                "origin": rule.origin.iter().map(shown::rule_origin).collect::<Vec<_>>(),
                "resourceMeta": shown::meta(&rule.resource),
                "resourceSectionName": &*rule.section,
            })
        })
        .collect()
}

/// The matches of all rules of HTTP routes, by their hash.
fn http_matches(rules: &ResourceRules) -> BTreeMap<String, Value> {
    let confs = rules.iter().filter_map(|(_, rule)| rule.conf.value()["rules"].as_array());
    confs.flatten().map(|rule| (matches_hash(&rule["matches"]), rule["matches"].clone())).collect()
}
