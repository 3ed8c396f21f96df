//! The decoded tail of the log, for the appliers and followers that read entries right after they were written.

use std::collections::BTreeMap;

use openraft::EntryPayload;

use crate::types::Entry;

/// Entries and bytes of them that are kept.
const RECENT_ENTRIES_MAX: usize = 128;
const RECENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Entries by index, without a hole.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
}

impl Recent {
    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry_bytes(&entry);
        self.entries.insert(entry.log_id.index, entry);
        while self.entries.len() > RECENT_ENTRIES_MAX || self.bytes > RECENT_BYTES_MAX {
            let Some((_, oldest)) = self.entries.pop_first() else { break };
            self.bytes -= entry_bytes(&oldest);
        }
    }

    pub(super) fn truncate(&mut self, from: u64) {
        let gone = self.entries.split_off(&from);
        self.bytes -= gone.values().map(entry_bytes).sum::<usize>();
    }

    /// The entries of `from..to`, at least one, until they exceed `bytes_max`; `None` when the first is not here.
    pub(super) fn range(&self, from: u64, to: u64, bytes_max: usize) -> Option<Vec<Entry>> {
        self.entries.get(&from)?;
        let mut bytes = 0;
        let mut found = Vec::new();
        for entry in self.entries.range(from..to).map(|(_, entry)| entry) {
            bytes += entry_bytes(entry);
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Some(found)
    }

    /// Forgets entries up to and with this one.
    pub(super) fn purge(&mut self, upto: u64) {
        let kept = self.entries.split_off(&(upto + 1));
        self.bytes = kept.values().map(entry_bytes).sum();
        self.entries = kept;
    }
}

fn entry_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(command) => command.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}
