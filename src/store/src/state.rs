//! The whole store at one revision.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use model::{Change, Key, Kind, Meta, Resource, Timestamp};

use crate::feed::ChangeBatch;
use crate::txn::{Guard, GuardFailure, Op, Put, StatusChange, Txn};

/// Position of one committed transaction. Every replica counts them alike; 0 is the empty store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many of the latest batches a state remembers for readers that are behind.
const RECENT_BATCHES_MAX: usize = 4096;

/// The store at one revision. Cloning shares everything.
#[derive(Clone, Default)]
pub struct State {
    revision: Revision,
    resources: OrdMap<Key, Arc<Resource>>,
    owned: OrdMap<Key, OrdSet<Key>>,
    counts: OrdMap<Kind, usize>,
    recent: Vector<Arc<ChangeBatch>>,
}

/// A state is large: it shows its position and size only.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revision {} with {} resources", self.revision, self.len())
    }
}

/// A shared, immutable [`State`].
pub type Snapshot = Arc<State>;

impl State {
    /// The empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A state that holds exactly these resources, without history: what a snapshot on disk restores.
    pub fn restore(revision: Revision, resources: impl IntoIterator<Item = Resource>) -> Self {
        let mut state = Self { revision, ..Self::default() };
        for resource in resources {
            state.insert(Arc::new(resource));
        }
        state
    }

    /// The revision of the last transaction.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The resource with this key.
    pub fn get(&self, key: &Key) -> Option<&Arc<Resource>> {
        self.resources.get(key)
    }

    /// All resources, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// The resources of a kind, ordered by mesh and name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.range(Key::new(kind, "", "")..).map(|(_, r)| r).take_while(move |r| r.key.kind == kind)
    }

    /// The resources of a kind in a mesh, ordered by name.
    pub fn in_mesh<'a>(&'a self, kind: Kind, mesh: &'a str) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.resources
            .range(Key::new(kind, mesh, "")..)
            .map(|(_, r)| r)
            .take_while(move |r| r.key.kind == kind && &*r.key.mesh == mesh)
    }

    /// How many resources there are of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// How many resources there are.
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    /// Whether there is no resource.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// The keys that `owner` owns directly.
    pub fn owned_by(&self, owner: &Key) -> impl Iterator<Item = &Key> {
        self.owned.get(owner).into_iter().flatten()
    }

    /// The batches after `from`, oldest first; `None` when some of them are forgotten or `from`
    /// lies in the future.
    pub fn since(&self, from: Revision) -> Option<impl Iterator<Item = &Arc<ChangeBatch>>> {
        let behind = usize::try_from(self.revision.0.checked_sub(from.0)?).ok()?;
        let start = self.recent.len().checked_sub(behind)?;
        // By position: an iterator would walk over what it skips.
        Some((start..self.recent.len()).filter_map(|position| self.recent.get(position)))
    }

    /// Applies a transaction that was ordered in `term` and stamped `at`: the one place where the
    /// store changes. On an error nothing changed.
    ///
    /// # Errors
    /// The first guard that does not hold.
    pub fn apply(&mut self, txn: &Txn, at: Timestamp, term: u64) -> Result<Arc<ChangeBatch>, GuardFailure> {
        for guard in &txn.guards {
            self.check(guard, term)?;
        }
        // A copy that is kept makes every change copy what it touches, so only where it may be needed: a
        // single operation fails before it changes anything.
        let may_fail = |op: &Op| match op {
            Op::Put(put) => put.owner.is_some(),
            Op::PutStatus { .. } => true,
            Op::Delete(_) => false,
        };
        let before = txn.ops.iter().skip(1).any(may_fail).then(|| self.clone());
        let revision = Revision(self.revision.0 + 1);
        let mut changes = BTreeMap::new();
        for op in &txn.ops {
            if let Err(failure) = self.change(op, at, revision, &mut changes) {
                if let Some(before) = before {
                    *self = before;
                }
                return Err(failure);
            }
        }
        let batch = Arc::new(ChangeBatch {
            revision,
            at,
            changes: changes.into_values().filter(|c| c.before.is_some() || c.after.is_some()).collect(),
        });
        self.revision = revision;
        self.recent.push_back(Arc::clone(&batch));
        if self.recent.len() > RECENT_BATCHES_MAX {
            self.recent.pop_front();
        }
        Ok(batch)
    }

    fn change(
        &mut self,
        op: &Op,
        at: Timestamp,
        revision: Revision,
        changes: &mut BTreeMap<Key, Change>,
    ) -> Result<(), GuardFailure> {
        match op {
            Op::Put(put) => self.put(put, at, revision, changes)?,
            Op::PutStatus { key, status } => {
                let before = self.get(key).cloned().ok_or_else(|| GuardFailure::NoTarget(key.clone()))?;
                let mut after = (*before).clone();
                after.status = Some(status.clone());
                after.meta.version = revision.0;
                after.meta.modification_time = at;
                self.replace(Some(before), Arc::new(after), changes);
            }
            Op::Delete(key) => self.delete(key, changes),
        }
        Ok(())
    }

    fn check(&self, guard: &Guard, term: u64) -> Result<(), GuardFailure> {
        match guard {
            Guard::Absent(key) if self.get(key).is_some() => Err(GuardFailure::Exists(key.clone())),
            Guard::Present(key) if self.get(key).is_none() => Err(GuardFailure::Missing(key.clone())),
            Guard::Version(key, expected) => match self.get(key) {
                None => Err(GuardFailure::Missing(key.clone())),
                Some(r) if r.meta.version != *expected => {
                    Err(GuardFailure::Version { key: key.clone(), expected: *expected, found: r.meta.version })
                }
                Some(_) => Ok(()),
            },
            Guard::Term(expected) if *expected != term => Err(GuardFailure::Term { expected: *expected, found: term }),
            Guard::Absent(_) | Guard::Present(_) | Guard::Term(_) => Ok(()),
        }
    }

    fn put(
        &mut self,
        put: &Put,
        at: Timestamp,
        revision: Revision,
        changes: &mut BTreeMap<Key, Change>,
    ) -> Result<(), GuardFailure> {
        if let Some(owner) = &put.owner
            && self.get(owner).is_none()
        {
            return Err(GuardFailure::NoTarget(owner.clone()));
        }
        let before = self.get(&put.key).cloned();
        let (created, modified) = put.times.unwrap_or((at, at));
        let meta = match &before {
            Some(old) => Meta {
                labels: put.labels.clone(),
                creation_time: if put.times.is_some() { created } else { old.meta.creation_time },
                modification_time: modified,
                version: revision.0,
                owner: old.meta.owner.clone(),
            },
            None => Meta {
                labels: put.labels.clone(),
                creation_time: created,
                modification_time: modified,
                version: revision.0,
                owner: put.owner.clone(),
            },
        };
        let status = match &put.status {
            StatusChange::Keep => before.as_ref().and_then(|old| old.status.clone()),
            StatusChange::Set(status) => Some(status.clone()),
        };
        let after = Arc::new(Resource { key: put.key.clone(), meta, spec: put.spec.clone(), status });
        self.replace(before, after, changes);
        Ok(())
    }

    fn replace(&mut self, before: Option<Arc<Resource>>, after: Arc<Resource>, changes: &mut BTreeMap<Key, Change>) {
        changes
            .entry(after.key.clone())
            .and_modify(|change| change.after = Some(Arc::clone(&after)))
            .or_insert_with(|| Change { key: after.key.clone(), before, after: Some(Arc::clone(&after)) });
        self.insert(after);
    }

    fn insert(&mut self, resource: Arc<Resource>) {
        let key = resource.key.clone();
        if let Some(owner) = &resource.meta.owner {
            self.owned.entry(owner.clone()).or_default().insert(key.clone());
        }
        let kind = key.kind;
        if self.resources.insert(key, resource).is_none() {
            *self.counts.entry(kind).or_insert(0) += 1;
        }
    }

    fn delete(&mut self, key: &Key, changes: &mut BTreeMap<Key, Change>) {
        let mut doomed = vec![key.clone()];
        while let Some(key) = doomed.pop() {
            let Some(gone) = self.resources.remove(&key) else { continue };
            if let Some(count) = self.counts.get_mut(&key.kind) {
                *count -= 1;
            }
            if let Some(owner) = &gone.meta.owner {
                self.disown(owner, &key);
            }
            if let Some(children) = self.owned.remove(&key) {
                doomed.extend(children);
            }
            changes.entry(key.clone()).and_modify(|change| change.after = None).or_insert(Change {
                key,
                before: Some(gone),
                after: None,
            });
        }
    }

    fn disown(&mut self, owner: &Key, key: &Key) {
        if let Some(children) = self.owned.get_mut(owner) {
            children.remove(key);
            if children.is_empty() {
                self.owned.remove(owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Labels, Spec, registry};

    use super::*;

    #[test]
    fn what_fails_at_a_later_operation_changes_nothing() {
        let spec = || Spec::of("any").unwrap();
        let [kept, new, missing] = ["kept", "new", "missing"].map(|name| Key::global(registry::CONFIG, name));
        let mut state = State::new();
        state.apply(&Txn::new().put(kept.clone(), Labels::new(), spec()), Timestamp::UNIX_EPOCH, 1).unwrap();
        let mut fails = Txn::new().put(new.clone(), Labels::new(), spec());
        fails.ops.push(Op::Delete(kept.clone()));
        fails.ops.push(Op::PutStatus { key: missing.clone(), status: spec() });
        let failure = state.apply(&fails, Timestamp::UNIX_EPOCH, 1).unwrap_err();
        assert_eq!(failure, GuardFailure::NoTarget(missing));
        assert_eq!((state.len(), state.revision()), (1, Revision(1)));
        assert!(state.get(&kept).is_some() && state.get(&new).is_none());
        assert_eq!(state.count(registry::CONFIG), 1);
    }
}
