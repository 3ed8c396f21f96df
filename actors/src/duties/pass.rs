//! One pass of the duties: a state to read, and the writes that it should become.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Key, Kind, Labels, Resource, Spec, Timestamp};
use serde::Serialize;
use store::{ChangeBatch, Guard, GuardFailure, Op, Put, Snapshot, State, StatusChange, Txn};

use super::focus::Focus;
use super::index::Index;

/// One pass of the duties. Writes show at once in [`Pass::state`], so that a later duty builds on
/// an earlier one; together they are one transaction, guarded by the versions that were read.
pub struct Pass {
    base: Snapshot,
    scratch: State,
    index: Index,
    focus: Focus,
    guards: BTreeMap<Key, Guard>,
    ops: Vec<Op>,
    now: Timestamp,
    /// When something becomes due that no change will announce.
    deadline: Option<Timestamp>,
    /// What could not be done, for the log.
    faults: Vec<String>,
}

impl Pass {
    /// A pass over what `focus` names of `base`, whose index is `index`, at the time `now`.
    pub fn new(base: Snapshot, index: Index, focus: Focus, now: Timestamp) -> Self {
        let scratch = (*base).clone();
        let (guards, ops, faults) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { base, scratch, index, focus, guards, ops, now, deadline: None, faults }
    }

    /// The index of [`Pass::state`].
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// What to look at, what the pass itself made wrong included.
    pub fn focus(&self) -> &Focus {
        &self.focus
    }

    /// Looks at nothing of the meshes that `leaves` names.
    pub fn leave_out(&mut self, leaves: impl Fn(&State, &Arc<str>) -> bool) {
        let scratch = &self.scratch;
        self.focus.retain(|mesh| !leaves(scratch, mesh));
    }

    /// Looks at a workload as well.
    pub fn look_at(&mut self, mesh: &Arc<str>, workload: &str) {
        self.focus.workloads.insert((Arc::clone(mesh), workload.to_owned()));
    }

    /// The state with all writes of this pass.
    pub fn state(&self) -> &State {
        &self.scratch
    }

    /// The time of the pass.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The resources of a kind in a mesh, shared, so that they can be read while writing.
    pub fn in_mesh(&self, kind: Kind, mesh: &str) -> Vec<Arc<Resource>> {
        self.scratch.in_mesh(kind, mesh).cloned().collect()
    }

    /// Creates or replaces a resource; its status stays.
    pub fn put(&mut self, key: Key, labels: Labels, spec: Spec, owner: Option<Key>) {
        self.guard(&key);
        self.write(Op::Put(Put { key, labels, spec, status: StatusChange::Keep, owner, times: None }));
    }

    /// Replaces the status of a resource when it differs.
    pub fn put_status<T: Serialize + Send + Sync + 'static>(&mut self, key: &Key, status: T) {
        match Spec::of(status) {
            Ok(status) if self.scratch.get(key).is_some_and(|r| r.status.as_ref() != Some(&status)) => {
                self.guard(key);
                self.write(Op::PutStatus { key: key.clone(), status });
            }
            Ok(_) => {}
            Err(error) => self.fault(format!("{key}: status: {error}")),
        }
    }

    /// Deletes a resource and what it owns.
    pub fn delete(&mut self, key: &Key) {
        self.guard(key);
        self.write(Op::Delete(key.clone()));
    }

    /// Asks for another pass at `at`, whether or not something changes until then.
    pub fn wake_at(&mut self, at: Timestamp) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }

    /// Notes what could not be done; the rest of the pass goes on.
    pub fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// The writes as one transaction of a leader in `term`, when the next pass is due, and what
    /// could not be done.
    pub fn finish(self, term: u64) -> (Txn, Option<Timestamp>, Vec<String>) {
        let mut txn = Txn::new().require_term(term);
        txn.guards.extend(self.guards.into_values());
        txn.ops = self.ops;
        (txn, self.deadline, self.faults)
    }

    /// The key must be in the transaction as this pass read it.
    fn guard(&mut self, key: &Key) {
        let base = &self.base;
        self.guards.entry(key.clone()).or_insert_with(|| match base.get(key) {
            Some(read) => Guard::Version(key.clone(), read.meta.version),
            None => Guard::Absent(key.clone()),
        });
    }

    fn write(&mut self, op: Op) {
        let single = Txn { ops: vec![op.clone()], ..Txn::new() };
        let written: Result<Arc<ChangeBatch>, GuardFailure> = self.scratch.apply(&single, self.now, 0);
        match written {
            Ok(batch) => {
                batch.changes.iter().for_each(|c| self.index.follow(c, &self.scratch, &mut self.focus));
                self.ops.push(op);
            }
            Err(failure) => self.fault(failure.to_string()),
        }
    }
}
