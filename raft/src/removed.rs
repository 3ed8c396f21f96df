//! The replicas that were taken out of the group, for ever.
//!
//! Ids are never used twice, so the set only grows and needs no agreement: every replica adds who
//! leaves the membership as it applies it, and replicas tell each other what they know. A removed
//! replica is refused by its certificate, and so learns what happened to it.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use crate::keys::write_private;
use crate::types::{Membership, ReplicaId};

/// The set. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Removed {
    ids: Arc<watch::Sender<BTreeSet<ReplicaId>>>,
}

impl Default for Removed {
    fn default() -> Self {
        Self { ids: Arc::new(watch::Sender::new(BTreeSet::new())) }
    }
}

impl Removed {
    /// Whether the replica was removed.
    pub(crate) fn has(&self, id: ReplicaId) -> bool {
        self.ids.borrow().contains(&id)
    }

    /// Whether anybody was.
    pub(crate) fn any(&self) -> bool {
        !self.ids.borrow().is_empty()
    }

    /// Everyone who was removed.
    pub(crate) fn all(&self) -> Vec<ReplicaId> {
        self.ids.borrow().iter().copied().collect()
    }

    /// Adds what is known elsewhere.
    pub(crate) fn add(&self, ids: impl IntoIterator<Item = ReplicaId>) {
        let mut ids = ids.into_iter().peekable();
        if ids.peek().is_some() {
            self.ids.send_if_modified(|known| {
                let before = known.len();
                known.extend(ids);
                known.len() > before
            });
        }
    }

    /// Adds who is in the group before a change and not after it.
    pub(crate) fn changed(&self, before: &Membership, after: &Membership) {
        let stays: BTreeSet<_> = after.nodes().map(|(id, _)| *id).collect();
        self.add(before.nodes().map(|(id, _)| *id).filter(|id| !stays.contains(id)));
    }

    /// Adds what the file tells; nothing when there is none.
    pub(crate) fn load(&self, path: &Path) -> io::Result<()> {
        match std::fs::read_to_string(path) {
            // What is no number was not written by this build; the others tell it again.
            Ok(text) => self.add(text.lines().filter_map(|line| line.parse().ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes the file, one id a line.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let text: String = self.all().iter().map(|id| format!("{id}\n")).collect();
        write_private(path, text.as_bytes())
    }

    /// Wakes when somebody was added.
    pub(crate) fn watch(&self) -> watch::Receiver<BTreeSet<ReplicaId>> {
        self.ids.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::types::Replica;

    fn group(ids: &[ReplicaId]) -> Membership {
        let replicas: BTreeMap<_, _> = ids.iter().map(|id| (*id, Replica::default())).collect();
        Membership::new(None, openraft::Membership::new(vec![ids.iter().copied().collect()], replicas))
    }

    #[test]
    fn who_leaves_the_group_is_remembered_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let removed = Removed::default();
        removed.changed(&group(&[1, 2, 3]), &group(&[1, 3, 4]));
        removed.changed(&group(&[1, 3, 4]), &group(&[1, 3, 4, 5]));
        removed.add([9]);
        assert_eq!(removed.all(), [2, 9]);
        let file = dir.path().join("removed");
        removed.save(&file).unwrap();
        let again = Removed::default();
        again.load(&file).unwrap();
        again.load(&dir.path().join("none")).unwrap();
        assert!(again.has(2) && again.has(9) && !again.has(1));
    }
}
