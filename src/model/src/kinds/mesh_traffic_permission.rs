//! MeshTrafficPermission: who may call.

use serde::{Deserialize, Serialize};

use super::matches::{self, Match};
use super::registered::{SpecType, plain};
use super::target_ref::{self, TargetRef};
use crate::codec::Codec;
use crate::schema::{self, Schema};
use crate::violation::Violations;
use std::sync::LazyLock;

/// Spec of a MeshTrafficPermission.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTrafficPermission {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// What is allowed and denied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// What is allowed and denied.
    pub default: Conf,
}

/// What is allowed and denied. Denial beats permission; what nothing allows is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conf {
    /// Callers that are denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<Vec<Match>>,
    /// Callers that are allowed, and whose denial is only logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_with_shadow_deny: Option<Vec<Match>>,
    /// Callers that are allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<Match>>,
}

impl SpecType for MeshTrafficPermission {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let list = || schema::array(matches::schema());
            let conf = schema::object([("deny", list()), ("allowWithShadowDeny", list()), ("allow", list())]);
            let rule = schema::object([("default", conf)]).required(&["default"]);
            schema::object([("targetRef", target_ref::top_schema()), ("rules", schema::array(rule))])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        target_ref::check_top(faults, self.target_ref.as_ref(), !self.rules.is_empty());
        if self.rules.is_empty() {
            faults.add("spec", "policy must define rules");
        }
        for (i, rule) in self.rules.iter().enumerate() {
            let Conf { deny, allow_with_shadow_deny, allow } = &rule.default;
            let lists = [("allow", allow), ("allowWithShadowDeny", allow_with_shadow_deny), ("deny", deny)];
            if lists.iter().all(|(_, list)| list.as_ref().is_none_or(Vec::is_empty)) {
                faults.add(
                    format!("spec.rules[{i}]"),
                    "at least one of 'allow', 'allowWithShadowDeny', 'deny' has to be defined",
                );
            }
            for (name, list) in lists {
                for (j, one) in list.iter().flatten().enumerate() {
                    faults.nest(&format!("spec.rules[{i}].{name}[{j}]"), one.faults());
                }
            }
        }
    }
}

pub(crate) const CODEC: Codec = plain::<MeshTrafficPermission>();
