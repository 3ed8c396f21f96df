//! Going back to a backup while the group runs: one transaction of what differs, as any other write.
//!
//! Every replica gets it from the log, revisions grow, the feed has no gap, and it happens whole or
//! not at all. What is too much for one transaction is refused; it is restored offline.

use std::path::PathBuf;

use model::{Key, Resource, Timestamp};
use store::{CommitError, Put, Revision, State, StatusChange, Store, Txn};

use crate::RaftStore;
use crate::errors::OpenError;

/// How often it is begun anew because somebody wrote meanwhile.
const ATTEMPTS_MAX: usize = 10;

/// What a restore changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The revision of the transaction; the current one when nothing differed.
    pub revision: Revision,
    /// Resources that are back.
    pub created: usize,
    /// Resources that are as they were.
    pub updated: usize,
    /// Resources that are gone, those that went with their owner not counted.
    pub deleted: usize,
}

/// Why a backup was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be read.
    #[error(transparent)]
    Unreadable(#[from] OpenError),
    /// No leader confirmed what is stored; nothing was changed.
    #[error(transparent)]
    Unconfirmed(#[from] store::ReadError),
    /// The transaction was not, or perhaps not, committed.
    #[error(transparent)]
    Uncommitted(#[from] CommitError),
}

impl RaftStore {
    /// Makes the resources what they are in a backup, but for those that `stays` names: they are
    /// neither changed nor deleted, only brought back. It is told about each resource that is
    /// stored, and the state of the backup.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub async fn restore_online(
        &self,
        backup: impl Into<PathBuf>,
        stays: impl Fn(&Key, &State) -> bool + Send + Sync,
        author: &str,
    ) -> Result<Restored, RestoreError> {
        let wanted = self.read_backup(backup).await?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let current = self.consistent().await?;
            let (txn, mut restored) = difference(&current, &wanted, &stays);
            if txn.is_empty() {
                return Ok(Restored { revision: current.revision(), ..restored });
            }
            match self.commit(txn.by(author)).await {
                Ok(committed) => {
                    restored.revision = committed.revision;
                    return Ok(restored);
                }
                Err(CommitError::Guard(_)) if attempts < ATTEMPTS_MAX => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The transaction that makes one state the other.
fn difference(current: &State, wanted: &State, stays: &impl Fn(&Key, &State) -> bool) -> (Txn, Restored) {
    let mut txn = Txn::new();
    let mut restored = Restored::default();
    // Deletions first, and with what they take along, so that it is clear what must be put.
    for resource in current.iter().filter(|resource| !stays(&resource.key, wanted)) {
        let is_same = |other: &Resource| other.meta.owner == resource.meta.owner;
        if !wanted.get(&resource.key).is_some_and(|other| is_same(other)) {
            txn = guarded(txn, resource).delete(resource.key.clone());
            restored.deleted += usize::from(wanted.get(&resource.key).is_none());
        }
    }
    let mut left = current.clone();
    // Without guards it cannot fail; if it did, all would be put, which is right as well.
    let deletions = Txn { guards: Vec::new(), ..txn.clone() };
    if !deletions.is_empty() && left.apply(&deletions, Timestamp::now(), 0).is_err() {
        left = State::new();
    }
    let mut puts: Vec<_> = wanted.iter().filter(|resource| differs(&left, resource, stays, wanted)).collect();
    // An owner is put before what it owns.
    puts.sort_by_key(|resource| depth(wanted, resource));
    for resource in puts {
        let stored = current.get(&resource.key);
        let is_left = left.get(&resource.key).is_some();
        txn = match stored {
            Some(stored) if is_left => guarded(txn, stored),
            Some(_) => txn,
            None => txn.require_absent(resource.key.clone()),
        };
        match stored {
            Some(_) => restored.updated += 1,
            None => restored.created += 1,
        }
        txn = txn.put_with(put(resource, is_left));
    }
    (txn, restored)
}

/// Nobody may write the resource meanwhile.
fn guarded(txn: Txn, stored: &Resource) -> Txn {
    txn.require_version(stored.key.clone(), stored.meta.version)
}

/// Whether a resource of the backup must be put.
fn differs(left: &State, resource: &Resource, stays: &impl Fn(&Key, &State) -> bool, wanted: &State) -> bool {
    left.get(&resource.key).is_none_or(|stored| {
        let is_same = stored.spec == resource.spec && stored.meta.labels == resource.meta.labels;
        !is_same && !stays(&resource.key, wanted)
    })
}

/// How many owners stand above a resource.
fn depth(state: &State, resource: &Resource) -> usize {
    let mut above = 0;
    let mut owner = resource.meta.owner.clone();
    while let Some(next) = owner.and_then(|key| state.get(&key)) {
        above += 1;
        owner = next.meta.owner.clone();
    }
    above
}

/// A resource that is there keeps its status and its time of creation; one that comes back has
/// those of the backup.
fn put(resource: &Resource, is_left: bool) -> Put {
    let status = resource.status.clone().filter(|_| !is_left);
    Put {
        key: resource.key.clone(),
        labels: resource.meta.labels.clone(),
        spec: resource.spec.clone(),
        status: status.map_or(StatusChange::Keep, StatusChange::Set),
        owner: resource.meta.owner.clone(),
        times: (!is_left).then(|| (resource.meta.creation_time, Timestamp::now())),
    }
}

#[cfg(test)]
mod tests {
    use model::{Labels, Spec, registry};
    use store::Op;

    use super::*;

    fn spec(text: &str) -> Spec {
        Spec::of(serde_json::json!({ "config": text })).unwrap()
    }

    fn key(name: &str) -> Key {
        Key::global(registry::CONFIG, name)
    }

    fn state(txns: &[Txn]) -> State {
        let mut state = State::new();
        for txn in txns {
            state.apply(txn, Timestamp::UNIX_EPOCH, 1).unwrap();
        }
        state
    }

    fn contents(state: &State) -> Vec<(Key, String, Option<Key>)> {
        state.iter().map(|r| (r.key.clone(), r.spec.json().to_owned(), r.meta.owner.clone())).collect()
    }

    /// A parent with children, of which a transaction is made.
    fn family(parent: &str, children: &[&str]) -> Txn {
        let txn = Txn::new().put(key(parent), Labels::new(), spec(parent));
        children.iter().fold(txn, |txn, child| txn.put_owned(key(child), Labels::new(), spec(child), key(parent)))
    }

    #[test]
    fn the_state_becomes_that_of_the_backup_with_owners_and_guards() {
        let put = |name: &str, text: &str| Txn::new().put(key(name), Labels::new(), spec(text));
        let states = [
            state(&[]),
            state(&[family("a", &["a1", "a2"]), put("b", "b")]),
            state(&[family("a", &["a1"]), put("b", "changed"), put("z", "z")]),
            // Another owner, and children of one that is gone.
            state(&[family("0", &["a1"]), family("y", &["a2", "b"])]),
        ];
        for (from, current) in states.iter().enumerate() {
            for (to, wanted) in states.iter().enumerate() {
                let (txn, restored) = difference(current, wanted, &|_, _| false);
                let mut after = current.clone();
                if txn.is_empty() {
                    assert_eq!(restored, Restored::default());
                } else {
                    after.apply(&txn, Timestamp::UNIX_EPOCH, 1).unwrap_or_else(|e| panic!("{from} to {to}: {e}"));
                }
                assert_eq!(contents(&after), contents(wanted), "{from} to {to}");
                assert!(from != to || txn.is_empty());
            }
        }
        let (txn, restored) = difference(&states[2], &states[1], &|_, _| false);
        assert_eq!((restored.created, restored.updated, restored.deleted), (1, 1, 1));
        let mut moved = states[2].clone();
        moved.apply(&put("b", "again"), Timestamp::UNIX_EPOCH, 1).unwrap();
        assert!(moved.apply(&txn, Timestamp::UNIX_EPOCH, 1).is_err(), "somebody wrote meanwhile");
    }

    #[test]
    fn what_stays_is_brought_back_but_not_changed_and_not_deleted() {
        let put = |name: &str, text: &str| Txn::new().put(key(name), Labels::new(), spec(text));
        let current = state(&[put("new", "1"), put("old", "2")]);
        let wanted = state(&[put("old", "1"), put("gone", "1")]);
        let (txn, _) = difference(&current, &wanted, &|_, _| true);
        let written: Vec<_> = txn.ops.iter().map(|op| matches!(op, Op::Put(put) if put.key == key("gone"))).collect();
        assert_eq!(written, [true]);
    }
}
