//! Metadata of a resource.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::key::Key;

/// Labels, ordered by key.
pub type Labels = BTreeMap<String, String>;

/// What the store keeps of a resource beside its key, spec and status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Labels, the computed ones included.
    pub labels: Labels,
    /// When it was created.
    pub creation_time: Timestamp,
    /// When its spec, labels or status last changed.
    pub modification_time: Timestamp,
    /// The revision of the transaction that last wrote it; the optimistic lock. 0 before it is stored.
    pub version: u64,
    /// The resource whose deletion deletes this one.
    pub owner: Option<Key>,
}

impl Meta {
    /// Metadata of a resource that is about to be created at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { labels: Labels::new(), creation_time: now, modification_time: now, version: 0, owner: None }
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }
}
