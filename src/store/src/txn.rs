//! Transactions: guards and operations that hold or happen together.

use std::fmt;
use std::sync::Arc;

use model::{Key, Labels, Spec, Timestamp};

/// A condition on the state that a transaction meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// No resource has this key.
    Absent(Key),
    /// A resource has this key.
    Present(Key),
    /// The resource is at this version (the revision that last wrote it).
    Version(Key, u64),
    /// The group is in this term: fences duties of a former leader.
    Term(u64),
}

/// Why a guard failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardFailure {
    /// [`Guard::Absent`], but the resource exists.
    Exists(Key),
    /// [`Guard::Present`] or [`Guard::Version`], but there is no such resource.
    Missing(Key),
    /// [`Guard::Version`], but the resource is at another version.
    Version {
        /// The resource.
        key: Key,
        /// The version that the writer had read.
        expected: u64,
        /// The version that is stored.
        found: u64,
    },
    /// [`Guard::Term`], but the group moved on.
    Term {
        /// The term of the writer.
        expected: u64,
        /// The term in which the transaction was ordered.
        found: u64,
    },
    /// An operation on a resource that does not exist (a status put, an owner).
    NoTarget(Key),
}

impl fmt::Display for GuardFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(key) => write!(f, "{key} exists"),
            Self::Missing(key) => write!(f, "{key} does not exist"),
            Self::Version { key, expected, found } => write!(f, "{key} is at version {found}, expected {expected}"),
            Self::Term { expected, found } => write!(f, "term is {found}, expected {expected}"),
            Self::NoTarget(key) => write!(f, "{key} does not exist"),
        }
    }
}

impl std::error::Error for GuardFailure {}

/// What a put does with the status of the resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StatusChange {
    /// The stored status stays; a new resource has none.
    #[default]
    Keep,
    /// The status becomes this.
    Set(Spec),
}

/// Creates or replaces a resource. Creation time and owner of an existing one stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Which resource.
    pub key: Key,
    /// All its labels.
    pub labels: Labels,
    /// Its spec.
    pub spec: Spec,
    /// What happens to its status.
    pub status: StatusChange,
    /// Its owner, which must exist (it may be put earlier in the same transaction). Set at creation.
    pub owner: Option<Key>,
    /// Creation and modification times of a copy that is kept as its origin has it.
    pub times: Option<(Timestamp, Timestamp)>,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Create or replace.
    Put(Put),
    /// Replace the status of an existing resource.
    PutStatus {
        /// Which resource.
        key: Key,
        /// Its status.
        status: Spec,
    },
    /// Delete a resource and all that it owns; nothing happens when there is none.
    Delete(Key),
}

/// One atomic write: all guards hold and all operations happen at one revision, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// Conditions, checked before any operation.
    pub guards: Vec<Guard>,
    /// Operations, in order.
    pub ops: Vec<Op>,
    /// Who asked for it, for the logs; it changes nothing in what is stored. Duties have none.
    pub author: Option<Arc<str>>,
}

impl Txn {
    /// An empty transaction.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says who asked for it.
    #[must_use]
    pub fn by(mut self, author: &str) -> Self {
        self.author = Some(author.into());
        self
    }

    /// Requires that nothing has this key.
    #[must_use]
    pub fn require_absent(mut self, key: Key) -> Self {
        self.guards.push(Guard::Absent(key));
        self
    }

    /// Requires that a resource has this key.
    #[must_use]
    pub fn require_present(mut self, key: Key) -> Self {
        self.guards.push(Guard::Present(key));
        self
    }

    /// Requires that the resource is at this version.
    #[must_use]
    pub fn require_version(mut self, key: Key, version: u64) -> Self {
        self.guards.push(Guard::Version(key, version));
        self
    }

    /// Requires that the group is in this term.
    #[must_use]
    pub fn require_term(mut self, term: u64) -> Self {
        self.guards.push(Guard::Term(term));
        self
    }

    /// Creates or replaces a resource without owner, keeping a stored status.
    #[must_use]
    pub fn put(self, key: Key, labels: Labels, spec: Spec) -> Self {
        self.put_with(Put { key, labels, spec, status: StatusChange::Keep, owner: None, times: None })
    }

    /// Creates or replaces a resource that belongs to `owner`.
    #[must_use]
    pub fn put_owned(self, key: Key, labels: Labels, spec: Spec, owner: Key) -> Self {
        self.put_with(Put { key, labels, spec, status: StatusChange::Keep, owner: Some(owner), times: None })
    }

    /// Any put.
    #[must_use]
    pub fn put_with(mut self, put: Put) -> Self {
        self.ops.push(Op::Put(put));
        self
    }

    /// Replaces a status.
    #[must_use]
    pub fn put_status(mut self, key: Key, status: Spec) -> Self {
        self.ops.push(Op::PutStatus { key, status });
        self
    }

    /// Deletes a resource and all that it owns.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.ops.push(Op::Delete(key));
        self
    }

    /// Whether the transaction does nothing.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}
