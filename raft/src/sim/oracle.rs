//! What must hold, whatever fails.

use std::collections::BTreeMap;

use store::{ChangeBatch, Revision};

/// What a write was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Acknowledged(Revision),
    /// Surely not written.
    Refused,
    Unknown,
}

/// Collects what clients and readers of the feed saw.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// Each revision as the first reader saw it.
    history: BTreeMap<Revision, String>,
    /// Each write by the unique value that it wrote.
    writes: BTreeMap<u64, Told>,
    /// The newest acknowledged revision.
    newest: Revision,
    pub(crate) violations: Vec<String>,
}

impl Oracle {
    fn violated(&mut self, what: String) {
        self.violations.push(what);
    }

    /// A reader of the feed at a replica got the batch after `cursor`.
    pub(crate) fn saw(&mut self, replica: u64, cursor: Revision, batch: &ChangeBatch) {
        if batch.revision.0 != cursor.0 + 1 {
            self.violated(format!("replica {replica}: feed goes from {cursor} to {}", batch.revision));
        }
        let seen = format!("{:?}", batch.changes);
        let known = self.history.entry(batch.revision).or_insert_with(|| seen.clone()).clone();
        if known != seen {
            self.violated(format!("replica {replica}: revision {} is {seen}, was {known}", batch.revision));
        }
    }

    pub(crate) fn told(&mut self, value: u64, told: Told) {
        if let Told::Acknowledged(revision) = told {
            self.newest = self.newest.max(revision);
        }
        self.writes.insert(value, told);
    }

    /// What a consistent read that starts now must show at least.
    pub(crate) fn newest(&self) -> Revision {
        self.newest
    }

    pub(crate) fn read(&mut self, replica: u64, at_least: Revision, got: Revision) {
        if got < at_least {
            self.violated(format!("replica {replica}: consistent read at {got}, {at_least} was acknowledged"));
        }
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.writes.values().filter(|told| matches!(told, Told::Acknowledged(_))).count()
    }

    /// After everything healed: all replicas are at `last`, with the same state.
    pub(crate) fn converged(&mut self, states: &[(u64, Revision, String)]) {
        for pair in states.windows(2) {
            if (pair[0].1, &pair[0].2) != (pair[1].1, &pair[1].2) {
                self.violated(format!("replicas {} and {} differ at the end", pair[0].0, pair[1].0));
            }
        }
        for (value, told) in std::mem::take(&mut self.writes) {
            let needle = format!("\"{value:08}\"");
            let holders: Vec<_> =
                self.history.iter().filter(|(_, seen)| after(seen).contains(&needle)).map(|(r, _)| *r).collect();
            match told {
                Told::Acknowledged(revision) if !holders.contains(&revision) => {
                    self.violated(format!("write {value} was acknowledged at {revision} and is lost ({holders:?})"));
                }
                Told::Refused if !holders.is_empty() => {
                    self.violated(format!("write {value} was refused and is there at {holders:?}"));
                }
                _ => {}
            }
            self.writes.insert(value, told);
        }
    }
}

/// The part of a change's text that says what the resource is now.
fn after(seen: &str) -> String {
    seen.split("after: ").skip(1).collect()
}
