//! The frame that all policies share, decoded without knowledge of their confs.

use model::kinds::matches::Match;
use model::kinds::target_ref::TargetRef;
use model::{Kind, registry};
use serde::Deserialize;
use serde_json::{Value, json};

/// A policy's spec: what it selects, and its confs as plain JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyFrame {
    /// Which dataplanes it selects.
    pub target_ref: TargetRef,
    /// Confs for destinations, in written order.
    pub to: Vec<ToItem>,
    /// Confs for inbounds, in written order.
    pub rules: Vec<RuleItem>,
    /// The conf for the whole proxy.
    pub default: Option<Value>,
}

/// One item of `to`.
#[derive(Clone, Debug, PartialEq)]
pub struct ToItem {
    /// Which destinations.
    pub target_ref: TargetRef,
    /// The conf; for routes the object that holds their rules.
    pub conf: Value,
}

/// One item of `rules`.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleItem {
    /// Which clients; none means all.
    pub matches: Vec<Match>,
    /// The conf.
    pub conf: Value,
}

/// Why a spec could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the spec: {0}")]
pub struct FrameError(String);

impl FrameError {
    pub(crate) fn new(cause: serde_json::Error) -> Self {
        Self(cause.to_string())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFrame {
    target_ref: Option<TargetRef>,
    to: Option<Vec<RawTo>>,
    rules: Option<Vec<RawRule>>,
    default: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTo {
    target_ref: TargetRef,
    default: Option<Value>,
    rules: Option<Value>,
}

#[derive(Deserialize)]
struct RawRule {
    matches: Option<Vec<Match>>,
    default: Option<Value>,
}

impl PolicyFrame {
    /// Reads the spec of a policy of `kind` from its JSON text.
    ///
    /// # Errors
    /// When the text has not the shape of a policy.
    pub fn decode(kind: Kind, json: &str) -> Result<Self, FrameError> {
        let raw: RawFrame = serde_json::from_str(json).map_err(FrameError::new)?;
        let to = raw.to.unwrap_or_default().into_iter().map(|item| to_item(kind, item)).collect();
        let rules = raw.rules.unwrap_or_default().into_iter().map(rule_item).collect();
        let default = raw.default.map(without_nulls).filter(|conf| !conf.is_null());
        Ok(Self { target_ref: raw.target_ref.unwrap_or_else(TargetRef::mesh), to, rules, default })
    }
}

impl PolicyFrame {
    /// What is left of a spec that cannot be read: whom it selects, everyone when that cannot be read
    /// either, and one rule for all clients whose conf nobody can read.
    pub(crate) fn unreadable(json: &str) -> Self {
        let spec: Value = serde_json::from_str(json).unwrap_or_default();
        let target = spec.get("targetRef").and_then(|target| TargetRef::deserialize(target).ok());
        let rule = RuleItem { matches: Vec::new(), conf: Value::from("unreadable") };
        Self { target_ref: target.unwrap_or_else(TargetRef::mesh), to: Vec::new(), rules: vec![rule], default: None }
    }
}

fn to_item(kind: Kind, item: RawTo) -> ToItem {
    let conf = if kind == registry::MESH_HTTP_ROUTE {
        json!({ "rules": item.rules.unwrap_or_else(|| json!([])) })
    } else if kind == registry::MESH_TCP_ROUTE {
        // A route without rules sends to the very destination that it is for.
        let first = item.rules.as_ref().and_then(|rules| rules.get(0)).cloned();
        first.unwrap_or_else(|| json!({ "default": { "backendRefs": [backend_of(&item.target_ref)] } }))
    } else {
        item.default.unwrap_or_else(|| json!({}))
    };
    ToItem { target_ref: item.target_ref, conf: without_nulls(conf) }
}

fn backend_of(target: &TargetRef) -> Value {
    let mut backend = serde_json::to_value(target).unwrap_or_else(|_| json!({}));
    backend["weight"] = json!(1);
    backend
}

fn rule_item(rule: RawRule) -> RuleItem {
    let conf = rule.default.filter(|conf| !conf.is_null()).unwrap_or_else(|| json!({}));
    RuleItem { matches: rule.matches.unwrap_or_default(), conf: without_nulls(conf) }
}

/// A null field is an absent one: it inherits, and never erases what another policy has set.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_without_target_is_for_the_mesh() {
        let frame =
            PolicyFrame::decode(registry::MESH_TRACE, r#"{"default":{"a":null,"b":{"c":null}}}"#).expect("reads");
        assert_eq!(frame.target_ref, TargetRef::mesh());
        assert_eq!(frame.default, Some(json!({"b": {}})));
    }

    #[test]
    fn routes_keep_their_rules_as_conf() {
        let to = r#"{"to":[{"targetRef":{"kind":"MeshService","labels":{"a":"b"}},"rules":[]}]}"#;
        let http = PolicyFrame::decode(registry::MESH_HTTP_ROUTE, to).expect("reads");
        assert_eq!(http.to[0].conf, json!({"rules": []}));
        let tcp = PolicyFrame::decode(registry::MESH_TCP_ROUTE, to).expect("reads");
        assert_eq!(
            tcp.to[0].conf,
            json!({"default": {"backendRefs": [{"kind": "MeshService", "labels": {"a": "b"}, "weight": 1}]}})
        );
    }

    #[test]
    fn a_malformed_spec_is_an_error() {
        assert!(PolicyFrame::decode(registry::MESH_TLS, r#"{"rules":"all"}"#).is_err());
    }
}
