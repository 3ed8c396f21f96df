//! Rules for the traffic to a destination.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::kinds::target_ref::{RefKind, TargetRef};
use model::{Labels, Resource, registry};
use serde_json::Value;

use crate::conf::Conf;
use crate::destinations::{Destination, Destinations};
use crate::inbound::RuleOrigin;
use crate::matches_hash::matches_hash;
use crate::merge::{Strategy, merge, strategy};
use crate::policy::{Policy, Role};
use crate::set::{PolicySet, ToEntry};
use crate::target_ref::service_kind;
use model::Kri;

/// What all matched policies together say on traffic to one destination, or one port of it.
#[derive(Debug)]
pub struct ResourceRule {
    /// The destination; the mesh for the rule that holds for all.
    pub resource: Arc<Resource>,
    /// The port's section; empty for the destination as a whole.
    pub section: Arc<str>,
    /// The merged conf.
    pub conf: Conf,
    /// The items that contribute, from low to high.
    pub origin: Vec<RuleOrigin>,
    /// For HTTP routes: the item of the highest precedence that contributes a rule with these
    /// matches, by their hash.
    pub origin_by_matches: BTreeMap<String, RuleOrigin>,
}

/// The rules by destination. A destination that no policy names has none of its own.
#[derive(Debug, Default)]
pub struct ResourceRules(BTreeMap<Kri, Arc<ResourceRule>>);

impl ResourceRules {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Kri, &Arc<ResourceRule>)> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rule with exactly this identifier.
    pub fn get(&self, kri: &Kri) -> Option<&Arc<ResourceRule>> {
        self.0.get(kri)
    }

    /// The rule for a destination: its own, else that of the destination without section, else the
    /// mesh's. The first that exists counts whole; nothing is merged here.
    pub fn compute(&self, kri: &Kri) -> Option<&Arc<ResourceRule>> {
        let exact = self.0.get(kri);
        if exact.is_some() || !(kri.kind.is_destination || kri.kind == registry::MESH_HTTP_ROUTE) {
            return exact;
        }
        self.0.get(&kri.with_section("")).or_else(|| self.0.get(&Kri::mesh(&kri.mesh)))
    }

    /// The first of these identifiers whose rule sets anything, each tried with and without its
    /// section, then the mesh's rule. For an Envoy resource with the origin `O` pass `[O]`, for a
    /// route `R` on it `[R, O]`.
    pub fn first_of(&self, chain: &[&Kri]) -> Option<&Arc<ResourceRule>> {
        let set = |rule: &&Arc<ResourceRule>| !rule.conf.is_empty();
        let own = chain
            .iter()
            .find_map(|kri| self.0.get(*kri).filter(set).or_else(|| self.0.get(&kri.with_section("")).filter(set)));
        own.or_else(|| {
            let mesh = &chain.last()?.mesh;
            self.0.get(&Kri::mesh(mesh)).filter(set)
        })
    }
}

/// What one item of `to` resolves to.
#[derive(Debug)]
enum Resolved {
    /// Everything in the mesh.
    Mesh,
    /// These destinations, or the port of each that has this section.
    Destinations(Vec<Arc<Destination>>, Arc<str>),
}

/// Every `to` item of a set with what it resolves to, low to high. Made once for a set and the
/// destinations of its mesh, for all dataplanes.
#[derive(Debug)]
pub(crate) struct ResolvedSet(Vec<(ToEntry, Resolved)>);

impl ResolvedSet {
    pub(crate) fn new(set: &PolicySet, destinations: &Destinations) -> Self {
        let entries = set.to_entries().iter().filter_map(|entry| {
            let policy = set.policies().get(entry.policy as usize)?;
            let target = &policy.frame.to.get(entry.item as usize)?.target_ref;
            Some((*entry, resolve(policy, target, destinations)))
        });
        Self(entries.collect())
    }

    /// The rules of those policies of the set that select a dataplane.
    pub(crate) fn rules(&self, set: &PolicySet, destinations: &Destinations, policies: &[u32]) -> ResourceRules {
        let mut named = Named::default();
        for (entry, resolved) in &self.0 {
            if policies.binary_search(&entry.policy).is_err() {
                continue;
            }
            named.add(*entry, resolved);
        }
        let mut rules = BTreeMap::new();
        match destinations.mesh() {
            Some(mesh) if !named.mesh.is_empty() => {
                let entries: Vec<_> = named.mesh.iter().map(|(_, entry)| *entry).collect();
                let rule = build(set, Arc::clone(mesh), "".into(), &entries);
                rules.insert(Kri::mesh(&mesh.key.name), Arc::new(rule));
            }
            Some(_) => {}
            None => named.mesh.clear(),
        }
        for (destination, entries) in named.destinations.values() {
            let sections: BTreeSet<_> = entries.iter().map(|(_, section, _)| Arc::clone(section)).collect();
            for section in sections {
                let own = entries.iter().filter(|(_, s, _)| s.is_empty() || *s == section);
                let mut relevant: Vec<_> =
                    own.map(|(rank, _, entry)| (*rank, *entry)).chain(named.mesh.iter().copied()).collect();
                relevant.sort_by_key(|(rank, _)| *rank);
                let relevant: Vec<_> = relevant.into_iter().map(|(_, entry)| entry).collect();
                let kri = destination.kri.with_section(&section);
                let rule = build(set, Arc::clone(&destination.resource), section, &relevant);
                rules.insert(kri, Arc::new(rule));
            }
        }
        ResourceRules(rules)
    }
}

/// Position of an entry in the order of precedence.
type Rank = usize;

/// The entries that name each destination.
#[derive(Default)]
struct Named<'a> {
    count: Rank,
    mesh: Vec<(Rank, ToEntry)>,
    destinations: BTreeMap<&'a Kri, (&'a Arc<Destination>, Vec<SectionEntry>)>,
}

/// An entry, and the section of the destination that it names.
type SectionEntry = (Rank, Arc<str>, ToEntry);

impl<'a> Named<'a> {
    fn add(&mut self, entry: ToEntry, resolved: &'a Resolved) {
        let rank = self.count;
        self.count += 1;
        match resolved {
            Resolved::Mesh => self.mesh.push((rank, entry)),
            Resolved::Destinations(found, section) => {
                for destination in found {
                    let (_, entries) = self.destinations.entry(&destination.kri).or_insert((destination, Vec::new()));
                    entries.push((rank, Arc::clone(section), entry));
                }
            }
        }
    }
}

fn resolve(policy: &Policy, target: &TargetRef, destinations: &Destinations) -> Resolved {
    let section: Arc<str> = target.section().unwrap_or_default().into();
    let kind = match &target.kind {
        RefKind::Mesh => return Resolved::Mesh,
        RefKind::MeshHttpRoute => Some(registry::MESH_HTTP_ROUTE),
        other => service_kind(other),
    };
    let labels = wanted_labels(policy, target);
    let mut found = kind.map(|kind| destinations.select(kind, &labels)).unwrap_or_default();
    match target.kind {
        RefKind::MeshService | RefKind::MeshMultiZoneService if !section.is_empty() => {
            found.retain(|destination| destination.port_of_policy(&section).is_some());
            Resolved::Destinations(found, section)
        }
        _ => Resolved::Destinations(found, "".into()),
    }
}

/// A producer speaks for the services of its own namespace, so a name without namespace means one
/// there (Kuma applies it to all services of that name).
fn wanted_labels(policy: &Policy, target: &TargetRef) -> Labels {
    let mut labels = target.labels.clone().unwrap_or_default();
    if policy.role == Role::Producer
        && !policy.kri.namespace.is_empty()
        && target.label("k8s.kuma.io/namespace").is_none()
    {
        labels.insert("k8s.kuma.io/namespace".to_owned(), policy.kri.namespace.to_string());
    }
    labels
}

fn build(set: &PolicySet, resource: Arc<Resource>, section: Arc<str>, entries: &[ToEntry]) -> ResourceRule {
    let strategy = strategy(set.kind());
    let items = || {
        entries.iter().filter_map(|entry| {
            let policy = set.policies().get(entry.policy as usize)?;
            Some((policy, entry.item as usize, &policy.frame.to.get(entry.item as usize)?.conf))
        })
    };
    let conf = Conf::new(merge(strategy, items().map(|(_, _, conf)| conf)));
    let mut origin: Vec<RuleOrigin> = Vec::new();
    let mut origin_by_matches = BTreeMap::new();
    for (policy, rule_index, conf) in items() {
        let contribution = RuleOrigin { policy: Arc::clone(policy), rule_index };
        if strategy == Strategy::RulesByMatches {
            for rule in conf.get("rules").and_then(Value::as_array).into_iter().flatten() {
                origin_by_matches.insert(matches_hash(&rule["matches"]), contribution.clone());
            }
        }
        origin.push(contribution);
    }
    ResourceRule { resource, section, conf, origin, origin_by_matches }
}
