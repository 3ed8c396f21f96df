//! Rules for the traffic that an inbound accepts.

use std::sync::Arc;

use model::kinds::matches::{Match, SpiffeMatchType};

use crate::conf::Conf;
use crate::merge::{merge, strategy};
use crate::policy::Policy;
use crate::set::PolicySet;

/// A policy, and the item of its `rules` or `to` that something comes from.
#[derive(Clone, Debug)]
pub struct RuleOrigin {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Index in its `rules` or `to`.
    pub rule_index: usize,
}

/// One rule of an inbound: a conf for the clients that match.
#[derive(Debug)]
pub struct InboundRule {
    /// Which clients; `None` for all.
    pub matched: Option<Match>,
    /// The conf, as the policy states it: rules of an inbound are not merged.
    pub conf: Arc<Conf>,
    /// Where it comes from.
    pub origin: RuleOrigin,
}

/// All rules of an inbound.
#[derive(Debug, Default)]
pub struct InboundRules {
    /// The most specific match first; rules of equal specificity from low to high precedence.
    pub rules: Vec<InboundRule>,
    /// The merge of the rules for all clients; empty when there are none.
    pub catch_all: Conf,
}

/// Specificity of a match, most specific first: how the client's identity is compared, then whether
/// the server name is.
fn specificity(matched: Option<&Match>) -> (u8, bool) {
    let spiffe = match matched.and_then(|m| m.spiffe_id.as_ref()).map(|id| &id.kind) {
        Some(SpiffeMatchType::Exact) => 0,
        Some(SpiffeMatchType::Prefix) => 1,
        Some(SpiffeMatchType::Unknown(_)) | None => 2,
    };
    (spiffe, matched.is_none_or(|m| m.sni.is_none()))
}

impl InboundRules {
    /// The rules of these policies of `set`, which are in order of precedence.
    pub(crate) fn build(set: &PolicySet, policies: &[u32]) -> Self {
        let mut rules = Vec::new();
        for policy in policies.iter().filter_map(|index| set.policies().get(*index as usize)) {
            for (rule_index, item) in policy.frame.rules.iter().enumerate() {
                let conf = Arc::new(Conf::new(item.conf.clone()));
                let rule = |matched| InboundRule {
                    matched,
                    conf: Arc::clone(&conf),
                    origin: RuleOrigin { policy: Arc::clone(policy), rule_index },
                };
                if item.matches.is_empty() {
                    rules.push(rule(None));
                } else {
                    rules.extend(item.matches.iter().cloned().map(Some).map(rule));
                }
            }
        }
        rules.sort_by_key(|rule| specificity(rule.matched.as_ref()));
        let all = rules.iter().filter(|rule| rule.matched.is_none()).map(|rule| rule.conf.value());
        let catch_all = Conf::new(merge(strategy(set.kind()), all));
        Self { rules, catch_all }
    }
}
