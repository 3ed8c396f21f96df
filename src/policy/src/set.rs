//! All policies of one kind in a mesh, read and sorted once.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Key, Kind, Resource};

use crate::policy::{Fault, Policy};
use crate::selection::{InboundKey, Selection, Subject, select};

/// Whether policies that are only evaluated take part (label `kuma.io/effect: shadow`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shadow {
    /// They do not: what proxies really run.
    Excluded,
    /// They do: what proxies would run.
    Included,
}

/// An item of some policy's `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToEntry {
    /// Index of the policy in the set.
    pub(crate) policy: u32,
    /// Index in its `to`.
    pub(crate) item: u32,
}

/// The policies of one kind in one mesh, from low to high precedence.
#[derive(Debug)]
pub struct PolicySet {
    kind: Kind,
    policies: Vec<Arc<Policy>>,
    to: Vec<ToEntry>,
    faults: Vec<Fault>,
}

/// The policies of a set that select a dataplane, as indices into the set, low to high.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// Those that select the dataplane.
    pub policies: Vec<u32>,
    /// Those that select an inbound; an inbound without any is absent.
    pub inbounds: BTreeMap<InboundKey, Vec<u32>>,
}

impl PolicySet {
    /// The policies of `kind` among `resources`.
    pub fn new<'a>(kind: Kind, resources: impl IntoIterator<Item = &'a Arc<Resource>>) -> Self {
        let mut policies = Vec::new();
        let mut faults = Vec::new();
        for resource in resources.into_iter().filter(|resource| resource.key.kind == kind) {
            add(resource, &mut policies, &mut faults);
        }
        Self::sorted(kind, policies, faults)
    }

    /// The set after a change of one policy: `None` removes it. The others are not read again.
    #[must_use]
    pub fn with(&self, key: &Key, after: Option<&Arc<Resource>>) -> Self {
        let mut policies: Vec<_> = self.policies.iter().filter(|p| p.resource.key != *key).cloned().collect();
        let mut faults: Vec<_> = self.faults.iter().filter(|fault| fault.key != *key).cloned().collect();
        if let Some(after) = after {
            add(after, &mut policies, &mut faults);
        }
        Self::sorted(self.kind, policies, faults)
    }

    fn sorted(kind: Kind, mut policies: Vec<Arc<Policy>>, faults: Vec<Fault>) -> Self {
        policies.sort_by(|a, b| a.precedence(b));
        let mut to = Vec::new();
        for (index, policy) in policies.iter().enumerate() {
            for item in 0..policy.frame.to.len() {
                to.push(ToEntry { policy: index as u32, item: item as u32 });
            }
        }
        to.sort_by(|a, b| {
            let (policy, other) = (&policies[a.policy as usize], &policies[b.policy as usize]);
            policy.to_precedence(a.item as usize, other, b.item as usize)
        });
        Self { kind, policies, to, faults }
    }

    /// The kind of the policies.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The policies, low to high.
    pub fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    /// Policies that could not be read; they are not in the set, but for those that protect.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Items of `to` with their index in the policy, low to high.
    pub fn to_items(&self) -> impl Iterator<Item = (&Arc<Policy>, usize)> {
        self.to.iter().map(|entry| (&self.policies[entry.policy as usize], entry.item as usize))
    }

    /// Items of `to`, low to high.
    pub(crate) fn to_entries(&self) -> &[ToEntry] {
        &self.to
    }

    /// The policies that select a dataplane, and each of its inbounds.
    pub fn match_dataplane(&self, subject: &Subject, shadow: Shadow) -> Matched {
        let mut matched = Matched::default();
        for (index, policy) in (0_u32..).zip(&self.policies) {
            if policy.shadow && shadow == Shadow::Excluded {
                continue;
            }
            let selection = select(policy, subject);
            if selection == Selection::None {
                continue;
            }
            matched.policies.push(index);
            for (key, _) in subject.inbounds().filter(|(_, section)| selection.covers(section)) {
                matched.inbounds.entry(key.clone()).or_default().push(index);
            }
        }
        matched
    }
}

/// Reads a policy into the set that is made.
fn add(resource: &Arc<Resource>, policies: &mut Vec<Arc<Policy>>, faults: &mut Vec<Fault>) {
    match Policy::read(resource) {
        Ok(policy) => policies.push(Arc::new(policy)),
        Err(e) => {
            faults.push(Fault { key: resource.key.clone(), message: e.to_string() });
            policies.extend(Policy::unreadable(resource).map(Arc::new));
        }
    }
}
