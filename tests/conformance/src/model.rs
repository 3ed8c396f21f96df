//! A store in 50 lines: maps and no cleverness.

use std::collections::BTreeMap;

use model::{Key, Spec};
use store::{Guard, Op, StatusChange, Txn};

/// What the model keeps of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The revision that wrote it.
    pub version: u64,
    /// Its spec.
    pub spec: Spec,
    /// Its status.
    pub status: Option<Spec>,
    /// Its owner.
    pub owner: Option<Key>,
}

/// The whole model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Committed transactions.
    pub revision: u64,
    /// What is stored.
    pub entries: BTreeMap<Key, Entry>,
}

impl Model {
    /// Applies all or none; says whether it did.
    pub fn apply(&mut self, txn: &Txn, term: u64) -> bool {
        let mut next = self.clone();
        next.revision += 1;
        let done = txn.guards.iter().all(|guard| self.holds(guard, term)) && txn.ops.iter().all(|op| next.run(op));
        if done {
            *self = next;
        }
        done
    }

    fn holds(&self, guard: &Guard, term: u64) -> bool {
        match guard {
            Guard::Absent(key) => !self.entries.contains_key(key),
            Guard::Present(key) => self.entries.contains_key(key),
            Guard::Version(key, version) => self.entries.get(key).is_some_and(|e| e.version == *version),
            Guard::Term(expected) => *expected == term,
        }
    }

    fn run(&mut self, op: &Op) -> bool {
        let version = self.revision;
        match op {
            Op::Put(put) => {
                if put.owner.as_ref().is_some_and(|owner| !self.entries.contains_key(owner)) {
                    return false;
                }
                let old = self.entries.get(&put.key).cloned();
                let status = match &put.status {
                    StatusChange::Keep => old.as_ref().and_then(|e| e.status.clone()),
                    StatusChange::Set(status) => Some(status.clone()),
                };
                let owner = old.map_or_else(|| put.owner.clone(), |e| e.owner);
                self.entries.insert(put.key.clone(), Entry { version, spec: put.spec.clone(), status, owner });
                true
            }
            Op::PutStatus { key, status } => self.entries.get_mut(key).is_some_and(|entry| {
                entry.status = Some(status.clone());
                entry.version = version;
                true
            }),
            Op::Delete(key) => {
                self.entries.remove(key);
                while let Some(orphan) = self.orphan() {
                    self.entries.remove(&orphan);
                }
                true
            }
        }
    }

    fn orphan(&self) -> Option<Key> {
        let lost = |e: &Entry| e.owner.as_ref().is_some_and(|owner| !self.entries.contains_key(owner));
        self.entries.iter().find(|(_, entry)| lost(entry)).map(|(key, _)| key.clone())
    }
}
