//! Tests of permissions: the shape of the filters, and a comparison of what they decide with a plain
//! reading of the policies.

use std::sync::Arc;

use model::kinds::matches::{Match, SniMatch, SniMatchType, SpiffeIdMatch, SpiffeMatchType};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::matcher::{Permission, Permissions};
use super::{Conf, POLICY};
use crate::policies::fixtures::{World, listener};
use crate::policies::mesh_tls;
use envoy_types::pb::envoy::config::rbac::v3::{Action, rbac::Action as Verdict};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::{
    Predicate, predicate::MatchType, predicate::single_predicate,
};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherType, OnMatch, on_match};
use envoy_types::pb::xds::r#type::matcher::v3::{Matcher, string_matcher::MatchPattern};

fn secured(world: World) -> crate::resource_set::ResourceSet {
    world.edited()
}

#[test]
fn without_policy_everyone_is_denied() {
    let set = secured(World::new());
    let denied = json!({"onNoMatch": {"action": {"name": "envoy.filters.rbac.action", "typedConfig": {
        "@type": "type.googleapis.com/envoy.config.rbac.v3.Action", "name": "default", "action": "DENY"}}}});
    let http = listener(&set, "self_inbound_dp_80");
    let filter = &http["filterChains"][0]["filters"][0]["typedConfig"]["httpFilters"][0];
    assert_eq!(filter["name"], "envoy.filters.http.rbac");
    assert_eq!(filter["typedConfig"]["matcher"], denied);
    let tcp = listener(&set, "self_inbound_dp_db");
    let filter = &tcp["filterChains"][0]["filters"][0];
    assert_eq!(filter["name"], "envoy.filters.network.rbac");
    assert_eq!(filter["typedConfig"]["matcher"], denied);
    assert_eq!(filter["typedConfig"]["statPrefix"], "self_inbound_dp_db.");
}

#[test]
fn only_chains_of_the_meshs_tls_are_guarded() {
    let permissive = json!({"rules": [{"default": {"mode": "Permissive"}}]});
    let set = secured(World::new().policy(mesh_tls::POLICY.kind, permissive));
    let chains = listener(&set, "self_inbound_dp_db")["filterChains"].clone();
    let guarded = |i: usize| chains[i]["filters"][0]["name"] == "envoy.filters.network.rbac";
    assert_eq!([guarded(0), guarded(1), guarded(2)], [false, false, true]);
}

#[test]
fn denials_stand_before_permissions_and_name_their_policy() {
    let spec = json!({"rules": [{"default": {
        "allow": [{"spiffeID": {"type": "Prefix", "value": "spiffe://td/b"}}],
        "allowWithShadowDeny": [{"spiffeID": {"type": "Exact", "value": "spiffe://td/b/v2"}}],
        "deny": [{"spiffeID": {"type": "Exact", "value": "spiffe://td/b/v1"}}]}}]});
    let set = secured(World::new().policy(POLICY.kind, spec));
    let http = listener(&set, "self_inbound_dp_80");
    let rbac = &http["filterChains"][0]["filters"][0]["typedConfig"]["httpFilters"][0]["typedConfig"];
    let matchers = rbac["matcher"]["matcherList"]["matchers"].as_array().expect("matchers");
    let action = |i: usize| matchers[i]["onMatch"]["action"]["typedConfig"].clone();
    assert_eq!((&action(0)["name"], &action(0)["action"]), (&json!("kri_mtp_m___a_"), &json!("DENY")));
    assert_eq!((&action(1)["name"], &action(1)["action"]), (&json!("kri_mtp_m___a_"), &Value::Null));
    assert_eq!(matchers[1]["predicate"]["orMatcher"]["predicate"].as_array().map(Vec::len), Some(2));
    assert_eq!(rbac["shadowMatcher"]["matcherList"]["matchers"].as_array().map(Vec::len), Some(1));
}

#[test]
fn rules_on_server_names_ask_for_the_tls_inspector_once() {
    let sni = json!({"allow": [{"sni": {"type": "Exact", "value": "a"}}]});
    let set = secured(World::new().policy(POLICY.kind, json!({"rules": [{"default": sni}, {"default": sni}]})));
    let filters = listener(&set, "self_inbound_dp_80")["listenerFilters"].clone();
    assert_eq!(filters.as_array().map(Vec::len), Some(1));
}

#[test]
fn without_identity_nothing_is_added() {
    let world = World::new().plaintext();
    let before = world.set.clone();
    assert_eq!(world.edited_by(POLICY).0, before);
}

#[test]
fn what_cannot_be_read_lets_no_one_in() {
    let allow =
        Conf { allow: Some(vec![Match::default(), spiffe(SpiffeMatchType::Prefix, "spiffe://")]), ..Conf::default() };
    let unread = Permissions(vec![permission(allow), Permission { policy: "p".to_owned(), conf: None }]);
    assert!(!allows(&unread.matcher(), "spiffe://a", "x"));
    assert!(!allows(&unread.matcher(), "", ""));
    let unknown = Conf {
        allow: Some(vec![spiffe(SpiffeMatchType::Prefix, "spiffe://")]),
        deny: Some(vec![spiffe(SpiffeMatchType::Unknown("Regex".into()), "b")]),
        ..Conf::default()
    };
    assert!(!allows(&Permissions(vec![permission(unknown)]).matcher(), "spiffe://a", "x"));
}

fn spiffe(kind: SpiffeMatchType, value: &str) -> Match {
    Match { spiffe_id: Some(SpiffeIdMatch { kind, value: value.to_owned() }), sni: None }
}

fn permission(conf: Conf) -> Permission {
    Permission { policy: "p".to_owned(), conf: Some(Arc::new(conf)) }
}

/// What Envoy decides by a matcher.
fn allows(matcher: &Matcher, spiffe_id: &str, sni: &str) -> bool {
    let listed = match &matcher.matcher_type {
        Some(MatcherType::MatcherList(list)) => list.matchers.as_slice(),
        _ => &[],
    };
    let hit = listed.iter().find(|m| m.predicate.as_ref().is_some_and(|p| holds(p, spiffe_id, sni)));
    let action = hit.map_or(matcher.on_no_match.as_deref(), |m| m.on_match.as_ref());
    verdict(action.expect("an action")) == Verdict::Allow
}

fn verdict(action: &OnMatch) -> Verdict {
    let Some(on_match::OnMatch::Action(config)) = &action.on_match else { panic!("no action") };
    let action: Action = crate::envoy::unpack(config.typed_config.as_ref().expect("a config")).expect("an action");
    action.action()
}

fn holds(predicate: &Predicate, spiffe_id: &str, sni: &str) -> bool {
    match predicate.match_type.as_ref().expect("a predicate") {
        MatchType::OrMatcher(list) => list.predicate.iter().any(|p| holds(p, spiffe_id, sni)),
        MatchType::AndMatcher(list) => list.predicate.iter().all(|p| holds(p, spiffe_id, sni)),
        MatchType::NotMatcher(inner) => !holds(inner, spiffe_id, sni),
        MatchType::SinglePredicate(single) => {
            let input = match single.input.as_ref().expect("an input").name.as_str() {
                "envoy.matching.inputs.uri_san" => spiffe_id,
                "envoy.matching.inputs.server_name" => sni,
                other => panic!("unknown input {other}"),
            };
            let Some(single_predicate::Matcher::ValueMatch(value)) = &single.matcher else { panic!("no value") };
            match value.match_pattern.as_ref().expect("a pattern") {
                MatchPattern::Exact(text) => input == text,
                MatchPattern::Prefix(text) => input.starts_with(text.as_str()),
                other => panic!("unknown pattern {other:?}"),
            }
        }
    }
}

/// What the policies say, read plainly: denied when any denial matches, else allowed when any
/// permission matches, else denied.
fn reference(confs: &[Conf], spiffe_id: &str, sni: &str) -> bool {
    let named = |matched: &Match| {
        let id = matched.spiffe_id.as_ref().is_none_or(|id| match id.kind {
            SpiffeMatchType::Exact => id.value == spiffe_id,
            _ => spiffe_id.starts_with(&id.value),
        });
        id && matched.sni.as_ref().is_none_or(|name| name.value == sni)
    };
    let any = |list: fn(&Conf) -> &Option<Vec<Match>>| confs.iter().any(|c| list(c).iter().flatten().any(named));
    !any(|c| &c.deny) && (any(|c| &c.allow) || any(|c| &c.allow_with_shadow_deny))
}

const IDS: [&str; 5] = ["spiffe://a", "spiffe://a/x", "spiffe://a/x/y", "spiffe://ab", "spiffe://b"];
const NAMES: [&str; 2] = ["one", "two"];

fn any_match() -> impl Strategy<Value = Match> {
    let id = (any::<bool>(), 0..IDS.len()).prop_map(|(exact, i)| SpiffeIdMatch {
        kind: if exact { SpiffeMatchType::Exact } else { SpiffeMatchType::Prefix },
        value: IDS[i].to_owned(),
    });
    let sni = (0..NAMES.len()).prop_map(|i| SniMatch { kind: SniMatchType::Exact, value: NAMES[i].to_owned() });
    (prop::option::of(id), prop::option::of(sni))
        .prop_map(|(spiffe_id, sni)| Match { spiffe_id, sni })
        .prop_filter("a match says something", |matched| !matched.is_empty())
}

fn any_conf() -> impl Strategy<Value = Conf> {
    let list = || prop::option::of(prop::collection::vec(any_match(), 0..3));
    (list(), list(), list()).prop_map(|(deny, allow, allow_with_shadow_deny)| Conf {
        deny,
        allow_with_shadow_deny,
        allow,
    })
}

proptest! {
    #[test]
    fn envoy_decides_as_the_policies_say(confs in prop::collection::vec(any_conf(), 0..5)) {
        let permissions = Permissions(confs.iter().cloned().map(permission).collect());
        let matcher = permissions.matcher();
        for id in IDS {
            for name in NAMES {
                prop_assert_eq!(allows(&matcher, id, name), reference(&confs, id, name), "{} {}", id, name);
            }
        }
    }

    #[test]
    fn one_more_denial_never_lets_anyone_in(confs in prop::collection::vec(any_conf(), 0..4), denied in any_match()) {
        let before = Permissions(confs.iter().cloned().map(permission).collect()).matcher();
        let more = Conf { deny: Some(vec![denied]), ..Conf::default() };
        let after = Permissions(confs.into_iter().chain([more]).map(permission).collect()).matcher();
        for id in IDS {
            for name in NAMES {
                prop_assert!(!allows(&after, id, name) || allows(&before, id, name));
            }
        }
    }
}
