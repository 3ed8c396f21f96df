//! What must hold, whatever fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Resource;
use store::{ChangeBatch, Revision, State};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::codec;
use crate::record::ResourceRecord;
use crate::seal::Keyring;

/// What a write was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Acknowledged(Revision),
    /// Surely not written.
    Refused,
    Unknown,
}

/// A write, as its client knows it.
#[derive(Clone, Copy, Debug)]
struct Write {
    /// The version that it required of the resource.
    guard: Option<u64>,
    told: Told,
}

/// Collects what clients and readers of the feed saw.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Each revision as the first reader saw it.
    history: BTreeMap<Revision, Arc<ChangeBatch>>,
    /// The bytes of the state at a revision, hashed, and who had it first.
    states: BTreeMap<Revision, (u64, u64)>,
    /// Each write by the unique value that it wrote.
    writes: BTreeMap<u64, Write>,
    /// The newest acknowledged revision.
    newest: Revision,
    pub(crate) violations: Vec<String>,
}

impl Oracle {
    pub(crate) fn violated(&mut self, what: String) {
        self.violations.push(what);
    }

    /// A reader of the feed at a replica got the batch after `cursor`.
    pub(crate) fn saw(&mut self, replica: u64, cursor: Revision, batch: &Arc<ChangeBatch>) {
        if batch.revision.0 != cursor.0 + 1 {
            self.violated(format!("replica {replica}: feed goes from {cursor} to {}", batch.revision));
        }
        let known = Arc::clone(self.history.entry(batch.revision).or_insert_with(|| Arc::clone(batch)));
        if known != *batch {
            self.violated(format!("replica {replica}: revision {} is {batch:?}, was {known:?}", batch.revision));
        }
    }

    /// A reader of the feed at a replica starts over with a whole state.
    pub(crate) fn restarted(&mut self, replica: u64, cursor: Revision, state: &State) {
        if state.revision() < cursor {
            self.violated(format!("replica {replica}: goes back from {cursor} to {}", state.revision()));
        }
        self.has(replica, state);
    }

    /// A replica has a state: equal revisions have equal bytes.
    pub(crate) fn has(&mut self, replica: u64, state: &State) {
        let hash = digest(state);
        let (first, known) = *self.states.entry(state.revision()).or_insert((replica, hash));
        if known != hash {
            self.violated(format!("replicas {first} and {replica} differ at revision {}", state.revision()));
        }
    }

    /// What an operation that starts now must show, or come after.
    pub(crate) fn newest(&self) -> Revision {
        self.newest
    }

    /// A write that began when `before` was acknowledged was answered.
    pub(crate) fn told(&mut self, value: u64, guard: Option<u64>, before: Revision, told: Told) {
        if let Told::Acknowledged(revision) = told {
            if revision <= before {
                self.violated(format!("write {value} got revision {revision}, {before} was acknowledged before it"));
            }
            self.newest = self.newest.max(revision);
        }
        self.writes.insert(value, Write { guard, told });
    }

    pub(crate) fn read(&mut self, replica: u64, at_least: Revision, got: Revision) {
        if got < at_least {
            self.violated(format!("replica {replica}: consistent read at {got}, {at_least} was acknowledged"));
        }
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.writes.values().filter(|write| matches!(write.told, Told::Acknowledged(_))).count()
    }

    /// Of the answers to all writes and of the states that were seen.
    pub(crate) fn digest(&self) -> u64 {
        xxh3_64(format!("{:?}{:?}", self.writes, self.states).as_bytes())
    }

    /// After everything healed: all replicas have the same state, and every write is as its client
    /// was told.
    pub(crate) fn converged(&mut self, states: &[(u64, Revision, String)]) {
        for pair in states.windows(2) {
            if (pair[0].1, &pair[0].2) != (pair[1].1, &pair[1].2) {
                self.violated(format!("replicas {} and {} differ at the end", pair[0].0, pair[1].0));
            }
        }
        let mut written: BTreeMap<u64, Vec<(Revision, Option<u64>)>> = BTreeMap::new();
        for (revision, batch) in &self.history {
            for change in &batch.changes {
                let before = change.before.as_ref().map(|before| before.meta.version);
                if let Some(value) = change.after.as_deref().and_then(value_of) {
                    written.entry(value).or_default().push((*revision, before));
                }
            }
        }
        let mut violations = Vec::new();
        for (value, Write { guard, told }) in &self.writes {
            let at = written.get(value).map(Vec::as_slice).unwrap_or_default();
            match told {
                Told::Acknowledged(revision) if at.first().is_none_or(|(at, _)| at != revision) => {
                    violations.push(format!("write {value} was acknowledged at {revision} and is lost ({at:?})"));
                }
                Told::Refused if !at.is_empty() => {
                    violations.push(format!("write {value} was refused and is there at {at:?}"));
                }
                _ if at.len() > 1 => violations.push(format!("write {value} is there more than once: {at:?}")),
                _ => {}
            }
            if let (Some(guard), Some((revision, before))) = (guard, at.first())
                && *before != Some(*guard)
            {
                violations.push(format!("write {value} required version {guard}, {revision} replaced {before:?}"));
            }
        }
        self.violations.append(&mut violations);
    }
}

/// The value that a client wrote into a resource.
fn value_of(resource: &Resource) -> Option<u64> {
    let digits: String = resource.spec.json().chars().filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// A hash of what a snapshot of this state would hold.
fn digest(state: &State) -> u64 {
    let mut hash = Xxh3::new();
    for resource in state.iter() {
        let record = ResourceRecord::of(resource, &Keyring::default()).expect("no secret");
        hash.update(&codec::encode(&record).expect("small"));
    }
    hash.digest()
}
