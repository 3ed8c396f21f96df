//! How far the log was durable, kept apart from it.
//!
//! A damaged record looks like the torn end that a crash leaves, and ends the log with everything that came
//! after it; sled takes a damaged file for a new one. A replica that does not notice has lost what it
//! acknowledged. So a small file beside the log says how far it went. It is written after each sync of the log and not synced
//! itself: it may say too little after a power cut, never too much.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::log::invalid;

/// How far a log was durable once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reached {
    /// Index of its last entry.
    pub(crate) last: u64,
    /// Term of its vote.
    pub(crate) term: u64,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Watermark {
    file: File,
    /// What is written to the log, durable or not.
    noted: Mutex<Reached>,
}

impl Watermark {
    /// Opens or creates the file. One that cannot be read says nothing: the log is not wrong for it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let known = match std::fs::read(path) {
            Ok(record) => codec::decode(&record).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        let watermark = Self { file, noted: Mutex::new(known.unwrap_or_default()) };
        if known.is_none() {
            watermark.keep(Reached::default())?;
            watermark.file.sync_all()?;
        }
        Ok(watermark)
    }

    fn lock(&self) -> MutexGuard<'_, Reached> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was noted so far; right after opening, what was durable before.
    pub(crate) fn noted(&self) -> Reached {
        *self.lock()
    }

    /// Entries were appended up to this one.
    pub(crate) fn note_last(&self, last: u64) {
        let mut noted = self.lock();
        noted.last = noted.last.max(last);
    }

    /// A vote was given in this term.
    pub(crate) fn note_term(&self, term: u64) {
        let mut noted = self.lock();
        noted.term = noted.term.max(term);
    }

    /// The log is about to end here: said first, so that a crash in between is no loss.
    pub(crate) fn lower(&self, last: u64) -> io::Result<()> {
        let lowered = {
            let mut noted = self.lock();
            noted.last = noted.last.min(last);
            *noted
        };
        self.keep(lowered)?;
        self.file.sync_data()
    }

    /// Keeps what was noted before a sync that has ended.
    pub(crate) fn keep(&self, reached: Reached) -> io::Result<()> {
        self.file.write_all_at(&codec::encode(&reached).map_err(invalid)?, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_kept_and_nothing_of_a_damaged_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reached");
        let watermark = Watermark::open(&path).unwrap();
        watermark.note_last(7);
        watermark.note_term(2);
        watermark.keep(watermark.noted()).unwrap();
        watermark.note_last(9);
        assert_eq!(Watermark::open(&path).unwrap().noted(), Reached { last: 7, term: 2 });
        watermark.lower(3).unwrap();
        assert_eq!(Watermark::open(&path).unwrap().noted(), Reached { last: 3, term: 2 });
        std::fs::write(&path, b"damaged").unwrap();
        assert_eq!(Watermark::open(&path).unwrap().noted(), Reached::default());
    }
}
