//! What policies are made of: items of `to` and of `rules`, each with a conf of the policy's own.

use serde::{Deserialize, Serialize};

use super::matches::{self, Match};
use super::target_ref::{self, RefKind, TargetRef};
use crate::schema::{self, Schema};
use crate::violation::Violations;

/// A conf for calls to a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "C: Default + Deserialize<'de>"))]
pub struct To<C> {
    /// The destination.
    pub target_ref: TargetRef,
    /// The conf.
    pub default: C,
}

/// A conf for calls that are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "C: Default + Deserialize<'de>"))]
pub struct Rule<C> {
    /// The calls; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// The conf.
    pub default: C,
}

/// Schema of `to`.
pub(crate) fn to_schema(conf: Schema, required: &[&'static str]) -> Schema {
    let item = schema::object([("targetRef", target_ref::to_schema()), ("default", conf)]);
    schema::array(item.required(required))
}

/// Schema of `rules` with matches.
pub(crate) fn rules_schema(conf: Schema, required: &[&'static str]) -> Schema {
    let item = schema::object([("matches", schema::array(matches::schema())), ("default", conf)]);
    schema::array(item.required(required))
}

/// Checks the references of `to` and, with `check`, the confs.
pub(crate) fn check_to<C>(
    faults: &mut Violations,
    to: &[To<C>],
    allowed: &[RefKind],
    check: impl Fn(&To<C>) -> Violations,
) {
    for (i, item) in to.iter().enumerate() {
        faults.nest(&format!("spec.to[{i}].targetRef"), item.target_ref.faults(allowed, false));
        faults.nest(&format!("spec.to[{i}].default"), check(item));
    }
}
