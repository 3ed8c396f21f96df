//! MeshTCPRoute: where connections to a destination go.

use serde::{Deserialize, Serialize};

use super::registered::{SpecType, plain};
use super::rules::MUST_BE_DEFINED;
use super::target_ref::{self, BackendRef, TargetRef};
use crate::codec::Codec;
use crate::schema::{self, Schema};
use crate::violation::Violations;
use std::sync::LazyLock;

/// Spec of a MeshTCPRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTcpRoute {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Routes by destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<To>,
}

/// Routes of a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct To {
    /// The destination.
    pub target_ref: TargetRef,
    /// At most one rule; none means the destination itself.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// Where connections go.
    pub default: RuleConf,
}

/// Where connections go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleConf {
    /// The destinations with their shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_refs: Option<Vec<BackendRef>>,
}

impl SpecType for MeshTcpRoute {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let conf = schema::object([("backendRefs", schema::array(target_ref::backend_schema()))]);
            let rule = schema::object([("default", conf)]).required(&["default"]);
            let to =
                schema::object([("targetRef", target_ref::to_schema()), ("rules", schema::array(rule).max_items(1))]);
            schema::object([
                ("targetRef", target_ref::top_schema()),
                ("to", schema::array(to.required(&["rules", "targetRef"])).min_items(1)),
            ])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        target_ref::check_top(faults, self.target_ref.as_ref(), false);
        for (i, to) in self.to.iter().enumerate() {
            faults.nest(&format!("spec.to[{i}].targetRef"), to.target_ref.faults(target_ref::DESTINATIONS, false));
            for (j, rule) in to.rules.iter().enumerate() {
                let path = format!("spec.to[{i}].rules[{j}].default.backendRefs");
                let backends = rule.default.backend_refs.as_deref().unwrap_or_default();
                if backends.is_empty() {
                    faults.add(path.as_str(), MUST_BE_DEFINED);
                }
                for (b, backend) in backends.iter().enumerate() {
                    faults.nest(&format!("{path}[{b}]"), backend.faults());
                }
            }
        }
    }
}

pub(crate) const CODEC: Codec = plain::<MeshTcpRoute>();
