//! One pass of the duties: a state to read, and the writes that it should become.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Key, Kind, Labels, Resource, Spec, Timestamp};
use serde::Serialize;
use store::{Guard, GuardFailure, Op, Put, Snapshot, State, StatusChange, Txn};

/// One pass of the duties. Writes show at once in [`Pass::state`], so that a later duty builds on
/// an earlier one; together they are one transaction, guarded by the versions that were read.
pub struct Pass {
    base: Snapshot,
    scratch: State,
    guards: BTreeMap<Key, Guard>,
    ops: Vec<Op>,
    now: Timestamp,
    /// When something becomes due that no change will announce.
    deadline: Option<Timestamp>,
    /// What could not be done, for the log.
    faults: Vec<String>,
}

impl Pass {
    /// A pass over `base` at the time `now`.
    pub fn new(base: Snapshot, now: Timestamp) -> Self {
        let scratch = (*base).clone();
        Self { base, scratch, guards: BTreeMap::new(), ops: Vec::new(), now, deadline: None, faults: Vec::new() }
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
        let written: Result<_, GuardFailure> = self.scratch.apply(&single, self.now, 0);
        match written {
            Ok(_) => self.ops.push(op),
            Err(failure) => self.fault(failure.to_string()),
        }
    }
}
