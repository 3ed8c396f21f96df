//! Permissions as the matcher of an RBAC filter.
//!
//! The first matcher that holds decides, so all denials stand before all permissions: a denial beats
//! every permission, however broad.

use std::sync::Arc;

use model::kinds::matches::{Match, SniMatchType, SpiffeMatchType};
use model::kinds::mesh_traffic_permission::Conf;

use crate::envoy::pack;
use envoy_types::pb::envoy::config::rbac::v3::{Action, rbac::Action as Verdict};
use envoy_types::pb::envoy::extensions::matching::common_inputs::network::v3::ServerNameInput;
use envoy_types::pb::envoy::extensions::matching::common_inputs::ssl::v3::UriSanInput;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::predicate::{
    MatchType, PredicateList, SinglePredicate, single_predicate,
};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::{FieldMatcher, Predicate};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherList, MatcherType, OnMatch, on_match};
use envoy_types::pb::xds::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::xds::r#type::matcher::v3::{Matcher, StringMatcher};

/// What one rule of a policy says.
#[derive(Clone, Debug)]
pub(super) struct Permission {
    /// Identifier of the policy; the name of the action.
    pub(super) policy: String,
    /// What it says; `None` when it cannot be read: then nothing is let through.
    pub(super) conf: Option<Arc<Conf>>,
}

/// All rules for a listener.
#[derive(Clone, Debug, Default)]
pub(super) struct Permissions(pub(super) Vec<Permission>);

impl Permissions {
    /// Whether any rule looks at the server name.
    pub(super) fn name_servers(&self) -> bool {
        let confs = self.0.iter().filter_map(|permission| permission.conf.as_ref());
        let lists = confs.flat_map(|conf| [&conf.deny, &conf.allow, &conf.allow_with_shadow_deny]);
        lists.flatten().flatten().any(|matched| matched.sni.is_some())
    }

    /// The matcher that is enforced.
    pub(super) fn matcher(&self) -> Matcher {
        let denials = self.0.iter().filter_map(|permission| {
            let predicate = match &permission.conf {
                Some(conf) => any_denied(conf.deny.as_deref().unwrap_or_default())?,
                None => everyone(),
            };
            Some(on_match(predicate, &permission.policy, Verdict::Deny))
        });
        let grants = self.0.iter().filter_map(|permission| {
            let conf = permission.conf.as_ref()?;
            let listed = conf.allow.iter().chain(&conf.allow_with_shadow_deny).flatten();
            Some(on_match(any_of(listed.filter_map(grant).collect())?, &permission.policy, Verdict::Allow))
        });
        deny_by_default(denials.chain(grants).collect())
    }

    /// The matcher that is only counted; `None` when no rule asks for it.
    pub(super) fn shadow_matcher(&self) -> Option<Matcher> {
        let confs = || self.0.iter().filter_map(|p| Some((p, p.conf.as_ref()?.allow_with_shadow_deny.as_ref()?)));
        confs().next()?;
        let denials = confs().filter_map(|(permission, matches)| {
            let predicate = any_of(matches.iter().filter_map(grant).collect())?;
            Some(on_match(predicate, &permission.policy, Verdict::Deny))
        });
        Some(deny_by_default(denials.collect()))
    }
}

fn deny_by_default(matchers: Vec<FieldMatcher>) -> Matcher {
    Matcher {
        matcher_type: (!matchers.is_empty()).then_some(MatcherType::MatcherList(MatcherList { matchers })),
        on_no_match: Some(Box::new(action("default", Verdict::Deny))),
    }
}

fn on_match(predicate: Predicate, name: &str, verdict: Verdict) -> FieldMatcher {
    FieldMatcher { predicate: Some(predicate), on_match: Some(action(name, verdict)) }
}

fn action(name: &str, verdict: Verdict) -> OnMatch {
    let action = Action { name: name.to_owned(), action: verdict.into() };
    let config = extension("envoy.filters.rbac.action", &action);
    OnMatch { on_match: Some(on_match::OnMatch::Action(config)), ..Default::default() }
}

/// Who is denied; a denial of a sort that is not known may mean anyone, so it means everyone.
fn any_denied(matches: &[Match]) -> Option<Predicate> {
    any_of(matches.iter().map(|matched| grant(matched).unwrap_or_else(everyone)).collect())
}

/// The predicate of one match; `None` when it says nothing, or something that is not known.
fn grant(matched: &Match) -> Option<Predicate> {
    let spiffe_id = match &matched.spiffe_id {
        Some(id) => Some(uri_san(match id.kind {
            SpiffeMatchType::Exact => MatchPattern::Exact(id.value.clone()),
            SpiffeMatchType::Prefix => MatchPattern::Prefix(id.value.clone()),
            SpiffeMatchType::Unknown(_) => return None,
        })),
        None => None,
    };
    let sni = match &matched.sni {
        Some(sni) => Some(match sni.kind {
            SniMatchType::Exact => server_name(MatchPattern::Exact(sni.value.clone())),
            SniMatchType::Unknown(_) => return None,
        }),
        None => None,
    };
    match (spiffe_id, sni) {
        (Some(id), Some(sni)) => Some(all_of(vec![id, sni])),
        (Some(one), None) | (None, Some(one)) => Some(one),
        (None, None) => None,
    }
}

/// Everyone who shows a certificate, whatever it says.
fn everyone() -> Predicate {
    let named = uri_san(MatchPattern::Prefix("spiffe://".to_owned()));
    let nameless = Predicate { match_type: Some(MatchType::NotMatcher(Box::new(named.clone()))) };
    Predicate { match_type: Some(MatchType::OrMatcher(PredicateList { predicate: vec![named, nameless] })) }
}

fn any_of(mut predicates: Vec<Predicate>) -> Option<Predicate> {
    match predicates.len() {
        0 => None,
        1 => predicates.pop(),
        _ => Some(Predicate { match_type: Some(MatchType::OrMatcher(PredicateList { predicate: predicates })) }),
    }
}

fn all_of(predicate: Vec<Predicate>) -> Predicate {
    Predicate { match_type: Some(MatchType::AndMatcher(PredicateList { predicate })) }
}

fn uri_san(pattern: MatchPattern) -> Predicate {
    single(extension("envoy.matching.inputs.uri_san", &UriSanInput {}), pattern)
}

fn server_name(pattern: MatchPattern) -> Predicate {
    single(extension("envoy.matching.inputs.server_name", &ServerNameInput {}), pattern)
}

fn single(input: TypedExtensionConfig, pattern: MatchPattern) -> Predicate {
    let value = StringMatcher { match_pattern: Some(pattern), ..Default::default() };
    Predicate {
        match_type: Some(MatchType::SinglePredicate(SinglePredicate {
            input: Some(input),
            matcher: Some(single_predicate::Matcher::ValueMatch(value)),
        })),
    }
}

fn extension<T: prost::Message + prost::Name>(name: &str, config: &T) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(pack(config)) }
}
