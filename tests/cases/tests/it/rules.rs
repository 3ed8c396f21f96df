//! Merging and ordering of policies.

use std::path::Path;
use std::sync::Arc;

use cases::{Tally, family_dir};
use model::{Resource, registry};
use policy::inbound::RuleOrigin;
use policy::{Destinations, PolicySet, ResourceRules, RuleBook, Rules, Shadow, Subject};
use serde_json::{Map, Value, json};

use crate::documents::{compare, no_time, resources, rest_meta, stems, yaml};
use crate::variants::{Plane, synced};

/// The policies that a case is about.
fn under_test(resources: &[Arc<Resource>]) -> Vec<Arc<Resource>> {
    resources.iter().filter(|r| r.key.name.starts_with("matched-for-rules-")).cloned().collect()
}

/// A dataplane that every policy selects.
fn subject(labels: Value) -> Subject {
    let spec = json!({"networking": {"address": "127.0.0.1", "inbound": [{"port": 80}]}});
    let mut dataplane = crate::documents::resource_of(registry::DATAPLANE, "mesh-1", "dp", spec);
    dataplane.meta.labels = serde_json::from_value(labels).expect("labels");
    Subject::read(&dataplane).expect("a dataplane")
}

fn rules_for(policies: &[Arc<Resource>], all: &[Arc<Resource>]) -> Rules {
    let kind = policies.first().expect("a policy").key.kind;
    let set = PolicySet::new(kind, policies);
    // The label of every policy's own selector, so that all of them are selected.
    let labels: Map<String, Value> = set
        .policies()
        .iter()
        .flat_map(|p| p.frame.target_ref.labels.clone().unwrap_or_default())
        .map(|(k, v)| (k, Value::from(v)))
        .collect();
    RuleBook::new(Arc::new(set), Arc::new(Destinations::new(all)))
        .rules(&subject(Value::Object(labels)), Shadow::Included)
}

#[test]
fn rules() {
    let Some(root) = family_dir("rules") else { return };
    let mut tally = Tally::default();
    resource_rules(&root.join("outbound/resourcerules"), &mut tally);
    sorted_entries(&root.join("outbound/sort"), &mut tally);
    inbound_rules(&root.join("inbound/inboundrules"), &mut tally);
    single_rules(&root.join("rules/single"), &mut tally);
    tally.finish("rules", FLOOR);
}

/// Cases that hold, and must go on holding.
const FLOOR: usize = 51;

fn resource_rules(dir: &Path, tally: &mut Tally) {
    for (case, path) in stems(dir, ".input.yaml") {
        let input = resources(&path);
        for (variant, golden) in stems(&dir.join(&case), ".golden.yaml") {
            let all: Vec<_> = input.iter().map(|resource| rewritten(resource, &variant)).collect();
            let policies: Vec<_> = all.iter().filter(|r| is_under_test(r)).cloned().collect();
            let rules = rules_for(&policies, &all);
            let actual = resource_rules_value(&rules.to, variant_is_k8s(&variant));
            tally.record(&format!("{case}/{variant}"), compare(&actual, &yaml(&golden)));
        }
    }
}

fn is_under_test(resource: &Resource) -> bool {
    resource.key.name.starts_with("matched-for-rules-")
}

/// Where the variant looks at the resources.
fn variant_is_k8s(variant: &str) -> bool {
    Plane::parse(variant.rsplit("-2-").next().unwrap_or(variant)).is_k8s()
}

fn rewritten(resource: &Arc<Resource>, variant: &str) -> Arc<Resource> {
    if resource.key.kind == registry::MESH {
        return Arc::clone(resource);
    }
    let written = |plane: &str| Plane::parse(plane).written(resource);
    Arc::new(match variant.split_once("-2-") {
        Some((from, to)) => synced(&written(from), Plane::parse(to).is_k8s()),
        None => written(variant),
    })
}

pub(crate) fn resource_rules_value(rules: &ResourceRules, k8s: bool) -> Value {
    let rule = |(kri, rule): (&model::Kri, &Arc<policy::ResourceRule>)| {
        let by_matches = rule.origin_by_matches.iter().map(|(hash, origin)| (hash.clone(), origin_value(origin, k8s)));
        let value = json!({
            "Conf": [rule.conf.value()],
            "Origin": rule.origin.iter().map(|origin| origin_value(origin, k8s)).collect::<Vec<_>>(),
            "OriginByMatches": by_matches.collect::<Map<_, _>>(),
            "Resource": if rule.resource.key.kind == registry::MESH { rest_meta(&rule.resource) } else { stored_meta(&rule.resource, k8s) },
            "ResourceSectionName": &*rule.section,
        });
        (kri.to_string(), value)
    };
    Value::Object(rules.iter().map(rule).collect())
}

fn origin_value(origin: &RuleOrigin, k8s: bool) -> Value {
    json!({"Resource": stored_meta(&origin.policy.resource, k8s), "RuleIndex": origin.rule_index})
}

/// The metadata as Kuma's test dumps it.
fn stored_meta(resource: &Resource, k8s: bool) -> Value {
    let name = &*resource.key.name;
    let extensions = match name.rsplit_once('.') {
        Some((own, namespace)) if k8s => json!({"k8s.kuma.io/name": own, "k8s.kuma.io/namespace": namespace}),
        _ => Value::Null,
    };
    json!({
        "CreationTime": no_time().to_string(),
        "ModificationTime": no_time().to_string(),
        "Labels": resource.meta.labels,
        "Mesh": &*resource.key.mesh,
        "Name": name,
        "NameExtensions": extensions,
        "Version": "",
    })
}

fn sorted_entries(dir: &Path, tally: &mut Tally) {
    for (case, path) in stems(dir, ".input.yaml") {
        let policies = under_test(&resources(&path));
        let set = PolicySet::new(policies[0].key.kind, &policies);
        let entry = |(policy, item): (&Arc<policy::Policy>, usize)| {
            let spec: Value = serde_json::from_str(policy.resource.spec.json()).expect("JSON");
            json!({
                "Entry": spec["to"][item],
                "Meta": rest_meta(&policy.resource),
                "RuleIndex": item,
                "TopLevel": policy.frame.target_ref,
            })
        };
        let actual = Value::Array(set.to_items().map(entry).collect());
        tally.record(&case, compare(&actual, &yaml(&dir.join(format!("{case}.golden.yaml")))));
    }
}

/// One inbound rule as Kuma's tests dump it.
pub(crate) fn inbound_rule_value(rule: &policy::InboundRule) -> Value {
    json!({
        "conf": rule.conf.value(),
        "match": rule.matched,
        "origin": {"Resource": rest_meta(&rule.origin.policy.resource), "RuleIndex": rule.origin.rule_index},
    })
}

fn inbound_rules(dir: &Path, tally: &mut Tally) {
    for (case, path) in stems(dir, ".input.yaml") {
        let all = resources(&path);
        let rules = rules_for(&under_test(&all), &all);
        let list =
            rules.inbound("127.0.0.1", 80).map(|rules| rules.rules.iter().map(inbound_rule_value).collect::<Vec<_>>());
        let actual = json!({ "rules": list.unwrap_or_default() });
        tally.record(&case, compare(&actual, &yaml(&dir.join(format!("{case}.golden.yaml")))));
    }
}

fn single_rules(dir: &Path, tally: &mut Tally) {
    for (case, path) in stems(dir, ".input.yaml") {
        let all = resources(&path);
        let rules = rules_for(&all, &all);
        let actual = rules.proxy.map_or(Value::Null, |proxy| {
            let origin: Vec<_> = proxy.origin.iter().map(|policy| rest_meta(&policy.resource)).collect();
            json!({"Conf": proxy.conf.value(), "Origin": origin})
        });
        tally.record(&case, compare(&actual, &yaml(&dir.join(format!("{case}.golden.yaml")))));
    }
}
