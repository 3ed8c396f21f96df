//! What clients did and were told, with times.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A resource as it was read: its revision and the value in it.
pub type Seen = (u64, u64);

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To write a value that nobody else writes; with a guard, only over this revision.
    Write {
        /// The value.
        value: u64,
        /// `If-Match`.
        guard: Option<u64>,
    },
    /// To read.
    Read {
        /// Whether it must show every acknowledged write.
        consistent: bool,
    },
}

/// What it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The write stands at this revision.
    Written {
        /// The revision.
        revision: u64,
        /// Whether there was no such resource before.
        created: bool,
    },
    /// The resource is this, or does not exist.
    Read(Option<Seen>),
    /// It was surely not done.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// One request of a client.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// The resource, by number.
    pub key: u64,
    /// Who was asked: a life of a replica, from one start to its end.
    pub life: u64,
    /// What for.
    pub asked: Asked,
    /// The answer.
    pub told: Told,
    /// When it was asked, in nanoseconds since the history began.
    pub begin: u64,
    /// When it was answered.
    pub end: u64,
}

/// All operations so far. Clones share it.
#[derive(Clone, Debug)]
pub struct History {
    start: Instant,
    operations: Arc<Mutex<Vec<Operation>>>,
}

impl Default for History {
    fn default() -> Self {
        Self { start: Instant::now(), operations: Arc::default() }
    }
}

impl History {
    /// The time, in nanoseconds since the history began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Notes an operation that was answered.
    pub fn note(&self, operation: Operation) {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }

    /// Everything that was noted.
    pub fn operations(&self) -> Vec<Operation> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
