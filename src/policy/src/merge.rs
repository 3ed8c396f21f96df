//! Merging confs of several policies into one, from low to high precedence.
//!
//! The base is JSON Merge Patch (RFC 7396): objects merge, all else is replaced. Two things differ
//! by kind: fields that gather instead of replacing, and the rules of HTTP routes, which merge by
//! their matches.

use model::{Kind, registry};
use serde_json::{Map, Value};

/// How confs of a kind merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// JSON Merge Patch.
    Patch,
    /// As [`Strategy::Patch`], but the array at this path is the concatenation of all.
    Append(&'static [&'static str]),
    /// HTTP routes: rules with equal matches merge into one.
    RulesByMatches,
}

/// The strategy of a kind.
pub fn strategy(kind: Kind) -> Strategy {
    if kind == registry::MESH_HTTP_ROUTE {
        Strategy::RulesByMatches
    } else if kind == registry::MESH_PASSTHROUGH {
        Strategy::Append(&["appendMatch"])
    } else if kind == registry::MESH_METRIC {
        Strategy::Append(&["sidecar", "profiles", "appendProfiles"])
    } else if kind == registry::MESH_PROXY_PATCH {
        Strategy::Append(&["appendModifications"])
    } else {
        Strategy::Patch
    }
}

/// Merges confs, low precedence first; the empty object when there are none.
pub fn merge<'a>(strategy: Strategy, confs: impl IntoIterator<Item = &'a Value>) -> Value {
    match strategy {
        Strategy::Patch => fold(confs),
        Strategy::Append(path) => append(path, confs),
        Strategy::RulesByMatches => rules_by_matches(confs),
    }
}

fn fold<'a>(confs: impl IntoIterator<Item = &'a Value>) -> Value {
    let mut merged = Value::Object(Map::new());
    for conf in confs {
        patch(&mut merged, conf);
    }
    merged
}

/// RFC 7396, except that null leaves a field alone: in a conf it means "not set".
fn patch(target: &mut Value, patch_value: &Value) {
    let Value::Object(fields) = patch_value else {
        *target = patch_value.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(into) = target else { return };
    for (key, value) in fields {
        match into.get_mut(key) {
            _ if value.is_null() => {}
            Some(current) => patch(current, value),
            None => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

fn append<'a>(path: &[&str], confs: impl IntoIterator<Item = &'a Value>) -> Value {
    let mut merged = Value::Object(Map::new());
    let mut gathered: Option<Vec<Value>> = None;
    for conf in confs {
        let at = path.iter().try_fold(conf, |value, field| value.get(field));
        if let Some(items) = at.and_then(Value::as_array) {
            gathered.get_or_insert_default().extend(items.iter().cloned());
        }
        patch(&mut merged, conf);
    }
    if let Some(all) = gathered {
        let mut slot = &mut merged;
        for field in path {
            slot = &mut slot[*field];
        }
        *slot = Value::Array(all);
    }
    merged
}

/// The list of the highest precedence comes first, each list in its written order. A rule whose
/// matches appear in several lists, or twice in one, stands where it has the highest precedence and
/// merges what the others set.
fn rules_by_matches<'a>(confs: impl IntoIterator<Item = &'a Value>) -> Value {
    let mut merged = Value::Object(Map::new());
    // From low to high: within a list the first rule wins, so lists are read from their end.
    let mut low_to_high: Vec<Value> = Vec::new();
    for conf in confs {
        if let Some(rules) = conf.get("rules").and_then(Value::as_array) {
            for rule in rules.iter().rev() {
                push_rule(&mut low_to_high, rule);
            }
        }
        patch(&mut merged, conf);
    }
    low_to_high.reverse();
    merged["rules"] = Value::Array(low_to_high);
    merged
}

fn push_rule(low_to_high: &mut Vec<Value>, rule: &Value) {
    let same = low_to_high.iter().position(|other| other.get("matches") == rule.get("matches"));
    let Some(same) = same else {
        low_to_high.push(rule.clone());
        return;
    };
    let mut combined = low_to_high.remove(same);
    patch(&mut combined, rule);
    low_to_high.push(combined);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(kind: Kind, confs: &[Value]) -> Value {
        merge(strategy(kind), confs)
    }

    #[test]
    fn later_confs_override_field_by_field() {
        let confs = [
            json!({"connectionTimeout": "1s", "http": {"requestTimeout": "2s", "streamIdleTimeout": "3s"}}),
            json!({"http": {"requestTimeout": "0s"}, "retryOn": []}),
            json!({"connectionTimeout": null}),
        ];
        assert_eq!(
            merged(registry::MESH_TIMEOUT, &confs),
            json!({"connectionTimeout": "1s", "http": {"requestTimeout": "0s", "streamIdleTimeout": "3s"}, "retryOn": []})
        );
    }

    #[test]
    fn appended_fields_gather_from_low_to_high() {
        let confs = [
            json!({"passthroughMode": "None", "appendMatch": [1, 2]}),
            json!({"passthroughMode": "Matched"}),
            json!({"appendMatch": [3]}),
        ];
        assert_eq!(
            merged(registry::MESH_PASSTHROUGH, &confs),
            json!({"passthroughMode": "Matched", "appendMatch": [1, 2, 3]})
        );
        let nested = [
            json!({"sidecar": {"profiles": {"appendProfiles": ["a"], "include": ["x"]}}}),
            json!({"sidecar": {"profiles": {"appendProfiles": ["b"], "include": ["y"]}}}),
        ];
        assert_eq!(
            merged(registry::MESH_METRIC, &nested),
            json!({"sidecar": {"profiles": {"appendProfiles": ["a", "b"], "include": ["y"]}}})
        );
    }

    fn rule(path: &str, default: Value) -> Value {
        json!({"matches": [{"path": {"type": "PathPrefix", "value": path}}], "default": default})
    }

    #[test]
    fn route_rules_of_the_highest_precedence_come_first() {
        let low = json!({"rules": [
            rule("/b1", json!({})), rule("/s2", json!({"backendRefs": [1]})),
            rule("/s1", json!({"filters": [1], "backendRefs": [2]})), rule("/b2", json!({}))]});
        let high = json!({"rules": [
            rule("/a1", json!({})), rule("/s1", json!({"backendRefs": [3]})), rule("/s2", json!({}))]});
        assert_eq!(
            merged(registry::MESH_HTTP_ROUTE, &[low, high]),
            json!({"rules": [
                rule("/a1", json!({})), rule("/s1", json!({"filters": [1], "backendRefs": [3]})),
                rule("/s2", json!({"backendRefs": [1]})), rule("/b1", json!({})), rule("/b2", json!({}))]})
        );
    }

    #[test]
    fn of_two_equal_rules_in_one_list_the_first_wins() {
        let conf = json!({"rules": [rule("/a", json!({"filters": [1]})), rule("/b", json!({})), rule("/a", json!({"filters": [2]}))]});
        assert_eq!(
            merged(registry::MESH_HTTP_ROUTE, &[conf]),
            json!({"rules": [rule("/a", json!({"filters": [1]})), rule("/b", json!({}))]})
        );
    }
}

#[cfg(test)]
mod properties {
    use super::{Strategy as Merge, merge};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn conf() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), "[a-c]{1}".prop_map(Value::from), Just(json!([1]))];
        let value = leaf.prop_recursive(3, 12, 3, |inner| {
            prop::collection::btree_map("[a-c]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect()))
        });
        prop::collection::btree_map("[a-c]", value, 0..3).prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn merging_is_idempotent_and_can_go_on_from_a_merged_prefix(a in conf(), b in conf(), c in conf()) {
            prop_assert_eq!(merge(Merge::Patch, [&a, &a]), a.clone());
            let prefix = merge(Merge::Patch, [&a, &b]);
            prop_assert_eq!(merge(Merge::Patch, [&prefix, &c]), merge(Merge::Patch, [&a, &b, &c]));
        }

        #[test]
        fn the_last_conf_survives_whole(a in conf(), b in conf()) {
            let merged = merge(Merge::Patch, [&a, &b]);
            prop_assert_eq!(merge(Merge::Patch, [&merged, &b]), merged);
        }
    }
}
