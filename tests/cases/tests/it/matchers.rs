//! Which policies select a dataplane.

use std::path::Path;
use std::sync::Arc;

use cases::{Tally, family_dir};
use model::{Kind, Resource, registry};
use policy::{Destinations, PolicySet, RuleBook, Rules, Shadow, Subject};
use serde_json::{Map, Value, json};

use crate::documents::{compare, resources, rest_meta, stems, yaml};
use crate::rules::{inbound_rule_value, resource_rules_value};
use crate::variants::{Plane, labelled, synced};

#[test]
fn matchers() {
    let Some(root) = family_dir("matchers/matchedpolicies") else { return };
    let mut tally = Tally::default();
    for (folder, dump) in
        [("dataplanepolicies", policies_value as Dump), ("fromrules", from_rules), ("torules", to_rules)]
    {
        let dir = root.join(folder);
        for (case, path) in stems(&dir, ".dataplane.yaml") {
            let dataplane = resources(&path).remove(0);
            let policies = resources(&dir.join(format!("{case}.policies.yaml")));
            let services = dir.join(format!("{case}.mes.yaml"));
            let services = if services.exists() { resources(&services) } else { Vec::new() };
            let actual = dump(&matched(&dataplane, &policies, &services));
            tally
                .record(&format!("{folder}/{case}"), compare(&actual, &yaml(&dir.join(format!("{case}.golden.yaml")))));
        }
    }
    dataplane_kind(&root.join("dataplane-kind"), &mut tally);
    tally.finish("matchers", FLOOR);
}

/// Cases that hold, and must go on holding.
const FLOOR: usize = 46;

type Dump = fn(&Rules) -> Value;

/// The kind that a file of policies is about: routes may stand beside it.
fn kind_of(policies: &[Arc<Resource>]) -> Kind {
    let mut kinds = policies.iter().map(|policy| policy.key.kind);
    kinds.clone().find(|kind| *kind != registry::MESH_HTTP_ROUTE).or_else(|| kinds.next()).expect("a policy")
}

fn matched(dataplane: &Resource, policies: &[Arc<Resource>], services: &[Arc<Resource>]) -> Rules {
    let set = PolicySet::new(kind_of(policies), policies);
    let destinations = Destinations::new(policies.iter().chain(services));
    let subject = Subject::read(dataplane).expect("a dataplane");
    RuleBook::new(Arc::new(set), Arc::new(destinations)).rules(&subject, Shadow::Excluded)
}

fn policies_value(rules: &Rules) -> Value {
    let item = |policy: &Arc<policy::Policy>| {
        let mut item = rest_meta(&policy.resource);
        item["spec"] = serde_json::from_str(policy.resource.spec.json()).expect("JSON");
        item
    };
    json!({"items": rules.policies.iter().map(item).collect::<Vec<_>>(), "next": null, "total": 0})
}

fn from_rules(rules: &Rules) -> Value {
    let inbound = rules.inbound.iter().map(|(key, rules)| {
        let list: Vec<_> = rules.rules.iter().map(inbound_rule_value).collect();
        (key.to_string(), Value::Array(list))
    });
    json!({"InboundRules": inbound.collect::<Map<_, _>>()})
}

fn to_rules(rules: &Rules) -> Value {
    json!({"ResourceRules": resource_rules_value(&rules.to, false)})
}

fn dataplane_kind(dir: &Path, tally: &mut Tally) {
    for (case, path) in stems(dir, ".dataplane.yaml") {
        let dataplane = resources(&path).remove(0);
        let policies = resources(&dir.join(format!("{case}.policies.yaml")));
        for (variant, golden) in stems(&dir.join(&case), ".golden.yaml") {
            let (dataplane, rewrite) = rewritten(&dataplane, &variant);
            let policies: Vec<_> = policies.iter().map(|policy| Arc::new(rewrite.apply(policy))).collect();
            let actual = policies_value(&matched(&dataplane, &policies, &[]));
            tally.record(&format!("{case}/{variant}"), compare(&actual, &yaml(&golden)));
        }
    }
}

/// What a variant does to policies.
struct Rewrite {
    written_on: Plane,
    /// Synchronised to a control plane, on Kubernetes or not.
    synced_to_k8s: Option<bool>,
    labels: &'static [(&'static str, &'static str)],
}

impl Rewrite {
    fn apply(&self, policy: &Resource) -> Resource {
        let written = self.written_on.written(policy);
        let seen = self.synced_to_k8s.map_or_else(|| written.clone(), |k8s| synced(&written, k8s));
        self.labels.iter().fold(seen, |policy, (key, value)| labelled(&policy, key, value))
    }
}

const FROM_SYSTEM: &[(&str, &str)] = &[("kuma.io/policy-role", "system"), ("k8s.kuma.io/namespace", "kuma-system")];
const FROM_PRODUCER: &[(&str, &str)] = &[("kuma.io/policy-role", "producer")];

/// The dataplane as the variant sees it, and what the variant does to policies.
fn rewritten(dataplane: &Resource, variant: &str) -> (Resource, Rewrite) {
    let local =
        |plane: Plane| (plane.written(dataplane), Rewrite { written_on: plane, synced_to_k8s: None, labels: &[] });
    match variant {
        "uni-zone" => return local(Plane::ZoneUni),
        "k8s-zone" => return local(Plane::ZoneK8s),
        "policy-from-k8s-to-k8s" | "policy-from-k8s-to-uni" => {
            let k8s = variant.ends_with("k8s");
            let plane = if k8s { Plane::ZoneK8s } else { Plane::ZoneUni };
            let rewrite = Rewrite { written_on: Plane::ZoneK8s, synced_to_k8s: Some(k8s), labels: FROM_PRODUCER };
            return (plane.written(dataplane), rewrite);
        }
        _ => {}
    }
    let (pair, on_zone) = match variant.rsplit_once("-on-").expect("a place") {
        (pair, "zone") => (pair, true),
        (pair, _) => (pair, false),
    };
    // Kuma's fixture of this name uses a universal dataplane.
    let (global, zone) = match pair {
        "policy-global-uni-dpp-k8s" => ("uni", "uni"),
        pair => pair.strip_prefix("policy-from-global-").and_then(|p| p.split_once("-zone-")).expect("a pair"),
    };
    let global = Plane::parse(&format!("global-{global}"));
    let zone = Plane::parse(&format!("zone-{zone}"));
    let written = zone.written(dataplane);
    let dataplane = if on_zone { written } else { synced(&written, global.is_k8s()) };
    (dataplane, Rewrite { written_on: global, synced_to_k8s: on_zone.then_some(zone.is_k8s()), labels: FROM_SYSTEM })
}
