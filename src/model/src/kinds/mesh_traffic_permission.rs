//! MeshTrafficPermission: who may call.

use serde::{Deserialize, Serialize};

use super::matches::Match;
use super::registered::plain;
use super::target_ref::TargetRef;
use crate::codec::Codec;

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

pub(crate) const CODEC: Codec = plain::<MeshTrafficPermission>();
