//! How resources, policies and rules are shown by the inspection endpoints.

use model::{Kri, Resource};
use policy::{Policy, RuleOrigin};
use serde_json::{Value, json};

/// A resource by its plain names.
pub(super) fn meta(resource: &Resource) -> Value {
    let key = &resource.key;
    json!({ "type": key.kind.name, "mesh": &*key.mesh, "name": &*key.name, "labels": resource.meta.labels })
}

/// A policy that contributes.
pub(super) fn policy_origin(policy: &Policy) -> Value {
    json!({ "kri": policy.kri.to_string() })
}

/// Policies that contribute, each once, in order.
pub(super) fn policy_origins<'a>(origins: impl Iterator<Item = &'a RuleOrigin>) -> Vec<Value> {
    let mut seen: Vec<&Kri> = Vec::new();
    for origin in origins {
        if !seen.contains(&&origin.policy.kri) {
            seen.push(&origin.policy.kri);
        }
    }
    seen.into_iter().map(|kri| json!({ "kri": kri.to_string() })).collect()
}

/// The item of a policy that something comes from.
pub(super) fn rule_origin(origin: &RuleOrigin) -> Value {
    json!({ "resourceMeta": meta(&origin.policy.resource), "ruleIndex": origin.rule_index })
}
