//! Permissions as the matcher of an RBAC filter.
//!
//! The first matcher that holds decides, so all denials stand before all permissions: a denial beats
//! every permission, however broad.

use std::sync::Arc;

use model::kinds::matches::Match;
use model::kinds::mesh_traffic_permission::Conf;

use super::super::predicate::{self, any_of, everyone, extension};
use envoy_types::pb::envoy::config::rbac::v3::{Action, rbac::Action as Verdict};
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::{FieldMatcher, Predicate};
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherList, MatcherType, OnMatch, on_match};

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
            Some(on_match(any_of(listed.filter_map(predicate::of).collect())?, &permission.policy, Verdict::Allow))
        });
        deny_by_default(denials.chain(grants).collect())
    }

    /// The matcher that is only counted; `None` when no rule asks for it.
    pub(super) fn shadow_matcher(&self) -> Option<Matcher> {
        let confs = || self.0.iter().filter_map(|p| Some((p, p.conf.as_ref()?.allow_with_shadow_deny.as_ref()?)));
        confs().next()?;
        let denials = confs().filter_map(|(permission, matches)| {
            let predicate = any_of(matches.iter().filter_map(predicate::of).collect())?;
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
    any_of(matches.iter().map(|matched| predicate::of(matched).unwrap_or_else(everyone)).collect())
}
