//! The policies of a mesh, and the rules that they make for its dataplanes.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use imbl::OrdMap;
use model::kinds::target_ref::BackendRef;
use model::{Key, Kind, Kri, Labels, Resource, registry};
use policy::{Conf, Destinations, InboundRules, Policy, PolicySet, ResourceRules, RuleBook};
use serde_json::Value;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::label_index::SelectorIndex;

/// Policies that send traffic to other destinations than their target.
const ROUTES: [Kind; 2] = [registry::MESH_HTTP_ROUTE, registry::MESH_TCP_ROUTE];

/// Digests of confs by what the rule is for.
type DigestsByKri = Arc<BTreeMap<Kri, u64>>;

/// Rules with their digest.
type Digested<R, D> = (Arc<R>, D);

/// Digests of rules by their address, with the rules themselves: so no others can come to stand there.
#[derive(Debug, Default)]
struct Digests {
    to: Mutex<BTreeMap<usize, Digested<ResourceRules, DigestsByKri>>>,
    inbound: Mutex<BTreeMap<usize, Digested<InboundRules, u64>>>,
}

/// All policies of a mesh and everything that they can refer to. A value is never changed: as long as
/// two views share it, every dataplane that did not change itself has the same rules in both.
#[derive(Debug, Default)]
pub struct Policies {
    sets: OrdMap<Kind, Arc<PolicySet>>,
    destinations: Arc<Destinations>,
    /// Made when first asked for; shared by views in which neither a kind's policies nor what they can
    /// refer to differ.
    books: BTreeMap<Kind, Arc<OnceLock<RuleBook>>>,
    digests: Digests,
    /// Routes by the labels of the backends that they lead to.
    routes: SelectorIndex<Key>,
}

impl Policies {
    /// The same policies among other destinations.
    pub(super) fn with_destinations(&self, destinations: Destinations) -> Self {
        Self {
            sets: self.sets.clone(),
            destinations: Arc::new(destinations),
            books: self.sets.keys().map(|kind| (*kind, Arc::default())).collect(),
            digests: Digests::default(),
            routes: self.routes.clone(),
        }
    }

    /// The policies after a change of one.
    pub(super) fn with(&self, key: &Key, after: Option<&Arc<Resource>>) -> Self {
        let kind = key.kind;
        let set = match self.sets.get(&kind) {
            Some(set) => set.with(key, after),
            None => PolicySet::new(kind, after),
        };
        let mut routes = self.routes.clone();
        if let Some(before) = self.get(key) {
            backends_of(before).iter().for_each(|labels| routes.remove(key, labels));
        }
        let mut sets = self.sets.clone();
        if set.policies().is_empty() && set.faults().is_empty() {
            sets.remove(&kind);
        } else {
            if let Some(after) = set.policies().iter().find(|policy| policy.resource.key == *key) {
                backends_of(after).iter().for_each(|labels| routes.insert(key, labels));
            }
            sets.insert(kind, Arc::new(set));
        }
        let kept = |other: &Kind| self.books.get(other).filter(|_| *other != kind).cloned().unwrap_or_default();
        Self {
            books: sets.keys().map(|kind| (*kind, kept(kind))).collect(),
            sets,
            destinations: Arc::clone(&self.destinations),
            digests: Digests::default(),
            routes,
        }
    }

    /// Whether what policies and backends can refer to is the same here and there.
    pub(crate) fn has_same_destinations(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.destinations, &other.destinations)
    }

    /// Whether the rules of a kind are the same here and there for every dataplane that did not change
    /// itself.
    pub(crate) fn has_same_book(&self, other: &Self, kind: Kind) -> bool {
        match (self.books.get(&kind), other.books.get(&kind)) {
            (Some(book), Some(other)) => Arc::ptr_eq(book, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// The policies of a kind; `None` when there are none.
    pub fn of_kind(&self, kind: Kind) -> Option<&Arc<PolicySet>> {
        self.sets.get(&kind)
    }

    /// Policies that cannot be read, and so have no effect on anyone.
    pub fn faults(&self) -> impl Iterator<Item = &policy::Fault> {
        self.sets.values().flat_map(|set| set.faults())
    }

    /// The kinds of which there are policies.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.sets.keys().copied()
    }

    /// The rules of a kind, for all dataplanes; `None` when there are no policies of that kind.
    pub fn book(&self, kind: Kind) -> Option<&RuleBook> {
        let book = self.books.get(&kind)?;
        let set = self.sets.get(&kind)?;
        Some(book.get_or_init(|| RuleBook::new(Arc::clone(set), Arc::clone(&self.destinations))))
    }

    /// A digest of each rule's conf, by what the rule is for. Made once for all that have these rules.
    pub(crate) fn digests(&self, rules: &Arc<ResourceRules>) -> DigestsByKri {
        let mut digests = self.digests.to.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, made) = digests.entry(Arc::as_ptr(rules) as usize).or_insert_with(|| {
            let of = |conf: &Conf| xxh3_64(conf.value().to_string().as_bytes());
            let made = rules.iter().map(|(kri, rule)| (kri.clone(), of(&rule.conf))).collect();
            (Arc::clone(rules), Arc::new(made))
        });
        Arc::clone(made)
    }

    /// A digest of the rules of an inbound. Made once for all inbounds that have these.
    pub(crate) fn inbound_digest(&self, rules: &Arc<InboundRules>) -> u64 {
        let mut digests = self.digests.inbound.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, made) = digests.entry(Arc::as_ptr(rules) as usize).or_insert_with(|| {
            let mut hasher = Xxh3::new();
            for rule in &rules.rules {
                let matched = serde_json::to_string(&rule.matched).unwrap_or_default();
                let origin = &rule.origin.policy.resource.key;
                (matched, rule.conf.value().to_string(), origin, rule.origin.rule_index).hash(&mut hasher);
            }
            (Arc::clone(rules), hasher.finish())
        });
        *made
    }

    /// What policies and backends can refer to.
    pub fn destinations(&self) -> &Destinations {
        &self.destinations
    }

    /// The policy with this key.
    pub fn get(&self, key: &Key) -> Option<&Arc<Policy>> {
        self.sets.get(&key.kind)?.policies().iter().find(|policy| policy.resource.key == *key)
    }

    /// Routes that may lead to a destination with these labels.
    pub(super) fn routes_to<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = &'a Arc<Policy>> {
        self.routes.candidates(labels).filter_map(|key| self.get(key))
    }
}

/// The labels of every backend that a route may send traffic to.
fn backends_of(policy: &Policy) -> Vec<Labels> {
    let mut found = Vec::new();
    if ROUTES.contains(&policy.resource.key.kind) {
        policy.frame.to.iter().for_each(|item| collect_backends(&item.conf, &mut found));
    }
    found
}

fn collect_backends(value: &Value, found: &mut Vec<Labels>) {
    let mut read = |value: &Value| {
        if let Ok(backend) = serde_json::from_value::<BackendRef>(value.clone()) {
            found.push(backend.target.labels.unwrap_or_default());
        }
    };
    match value {
        Value::Object(fields) => {
            fields.get("backendRefs").and_then(Value::as_array).into_iter().flatten().for_each(&mut read);
            fields.get("backendRef").into_iter().for_each(&mut read);
            fields.values().for_each(|field| collect_backends(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_backends(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
