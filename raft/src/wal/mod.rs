//! The log on disk: entries in files that are only ever written at their end, named values in sled.
//!
//! ```text
//! entries/00000000000000000001.log   see [`segment`]; named by the first entry
//! db, conf, snap.*                   sled's: the vote, and marks
//! reached                            how far the log was durable, see [`crate::watermark`]
//! ```
//!
//! One write and one sync an append, whatever the size of the log. Files whose entries are all covered by a
//! snapshot are deleted as a whole. A record that is damaged, or missing, ends its file where it
//! stands; whether that is the torn end of a crash or a loss, the next file and the watermark tell.

mod former;
mod hard_state;
mod segment;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::codec;
use crate::log::{LogBackend, VOTE};
use crate::record::VoteRecord;
use crate::snapshot::sync_dir;
use crate::watermark::{Reached, Watermark};
use hard_state::HardState;
use segment::Segment;

/// A file that has this many bytes is continued in another one.
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// A [`LogBackend`] in a directory of its own.
#[derive(Debug)]
pub(crate) struct Wal {
    dir: PathBuf,
    hard: HardState,
    entries: RwLock<Entries>,
    unsynced: Mutex<Unsynced>,
    watermark: Watermark,
    /// What the watermark said when the log was opened.
    reached: Reached,
    segment_bytes: u64,
}

/// The files of the log, in order: each begins where the one before ends.
#[derive(Debug, Default)]
struct Entries {
    segments: VecDeque<Segment>,
    /// Entries before this one are removed, though they may still be in a file.
    first: u64,
    /// Whether nothing is behind the last record but what this process wrote. Otherwise a part of an
    /// append that a crash tore could come to stand right behind a new record, and count again.
    is_trimmed: bool,
    buffer: Vec<u8>,
}

impl Entries {
    /// Index of the entry after the last one; `None` for a log without a file.
    fn next(&self) -> Option<u64> {
        self.segments.back().map(Segment::next)
    }

    /// The indexes that are there.
    fn present(&self) -> std::ops::Range<u64> {
        let front = self.segments.front().map_or(0, Segment::first);
        self.first.max(front)..self.next().unwrap_or_default()
    }

    /// The file with this entry, or with the next one that is there.
    fn holder(&self, index: u64) -> Option<&Segment> {
        self.segments.get(self.segments.partition_point(|segment| segment.next() <= index))
    }
}

/// What the next sync must reach.
#[derive(Debug, Default)]
struct Unsynced {
    files: Vec<Arc<File>>,
    dir: bool,
}

impl Wal {
    /// Opens or creates the log in `dir`.
    ///
    /// # Errors
    /// The disk's; corruption as [`io::ErrorKind::InvalidData`].
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        Self::with_segments(dir, SEGMENT_BYTES)
    }

    fn with_segments(dir: &Path, segment_bytes: u64) -> io::Result<Self> {
        let hard = HardState::open(dir)?;
        let watermark = Watermark::open(&dir.join("reached"))?;
        let entries_dir = dir.join("entries");
        std::fs::create_dir_all(&entries_dir)?;
        sync_dir(dir)?;
        let reached = watermark.noted();
        let mut log = Self {
            dir: entries_dir,
            hard,
            entries: RwLock::default(),
            unsynced: Mutex::default(),
            watermark,
            reached,
            segment_bytes,
        };
        log.move_former()?;
        log.entries = RwLock::new(log.read_files()?);
        Ok(log)
    }

    /// Takes over the log of the release before, if there is one.
    fn move_former(&self) -> io::Result<()> {
        let mut is_first = true;
        let moved = former::move_to(self.hard.db(), |portion| {
            // What is there is of a move that was cut short.
            if std::mem::take(&mut is_first) {
                for path in self.files()? {
                    std::fs::remove_file(path)?;
                }
            }
            self.append(&portion)
        })?;
        if moved {
            self.sync()?;
            former::forget(self.hard.db())?;
            self.hard.sync_all()?;
        }
        Ok(())
    }

    /// The paths of the files, in order.
    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths =
            std::fs::read_dir(&self.dir)?.map(|file| Ok(file?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        Ok(paths)
    }

    fn read_files(&self) -> io::Result<Entries> {
        let segments = self.files()?.iter().map(|path| Segment::open(path)).collect::<io::Result<_>>()?;
        Ok(Entries { segments, ..Entries::default() })
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsynced(&self) -> MutexGuard<'_, Unsynced> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_changed(&self, segment: &Segment) {
        let (file, mut unsynced) = (segment.file(), self.unsynced());
        if !unsynced.files.iter().any(|known| Arc::ptr_eq(known, &file)) {
            unsynced.files.push(file);
        }
    }

    /// The file that takes the next entries, of which this is the first.
    fn growing<'a>(&self, entries: &'a mut Entries, first: u64) -> io::Result<(&'a mut Segment, &'a mut Vec<u8>)> {
        if entries.next().is_some_and(|next| next > first) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("log entry {first} is there already")));
        }
        let fits = |last: &Segment| last.next() == first && last.used() < self.segment_bytes;
        if !entries.segments.back().is_some_and(fits) {
            entries.segments.push_back(Segment::create(&self.dir, first)?);
            entries.is_trimmed = true;
            self.unsynced().dir = true;
        }
        let Some(last) = entries.segments.back_mut() else { return Err(io::Error::other("log has no file")) };
        if !std::mem::replace(&mut entries.is_trimmed, true) {
            last.truncate(last.next())?;
            last.file().sync_all()?;
        }
        Ok((last, &mut entries.buffer))
    }
}

impl LogBackend for Wal {
    fn append(&self, values: &[(u64, Vec<u8>)]) -> io::Result<()> {
        let (Some((first, _)), Some((last, _))) = (values.first(), values.last()) else { return Ok(()) };
        let mut entries = self.write();
        let (segment, buffer) = self.growing(&mut entries, *first)?;
        segment.append(values.iter().map(|(_, value)| value.as_slice()), buffer)?;
        self.is_changed(segment);
        drop(entries);
        self.watermark.note_last(*last);
        Ok(())
    }

    fn range(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let entries = self.read();
        let present = entries.present();
        let (mut from, to) = (from.max(present.start), to.min(present.end));
        let (mut found, mut bytes) = (Vec::new(), 0);
        while from < to && (found.is_empty() || bytes < bytes_max) {
            let Some(segment) = entries.holder(from).filter(|segment| segment.first() < to) else { break };
            from = from.max(segment.first());
            let part = segment.read(from, to.min(segment.next()), bytes_max - bytes)?;
            from += part.len() as u64;
            bytes += part.iter().map(|(_, value)| value.len()).sum::<usize>();
            found.extend(part);
        }
        Ok(found)
    }

    fn last(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let present = self.read().present();
        if present.is_empty() {
            return Ok(None);
        }
        Ok(self.range(present.end - 1, present.end, usize::MAX)?.pop())
    }

    fn truncate(&self, from: u64) -> io::Result<()> {
        self.watermark.lower(from.saturating_sub(1))?;
        let mut entries = self.write();
        let mut is_fewer = false;
        // From the end, each for certain before the next, so that a crash in between leaves no hole.
        while let Some(last) = entries.segments.pop_back_if(|last| last.first() >= from) {
            last.delete()?;
            sync_dir(&self.dir)?;
            is_fewer = true;
        }
        if is_fewer {
            entries.is_trimmed = false;
        }
        if let Some(last) = entries.segments.back_mut().filter(|last| last.next() > from) {
            last.truncate(from)?;
            self.is_changed(last);
        }
        Ok(())
    }

    fn purge(&self, upto: u64) -> io::Result<()> {
        // The mark that says so, before.
        self.hard.sync()?;
        let mut entries = self.write();
        let next = upto.saturating_add(1);
        entries.first = entries.first.max(next);
        if entries.next().is_some_and(|end| end < next) {
            // The log goes on elsewhere: no new file may come before the old ones are gone.
            for segment in entries.segments.drain(..) {
                segment.delete()?;
            }
            return sync_dir(&self.dir);
        }
        let mut covered = Vec::new();
        while entries.segments.len() > 1 {
            let Some(segment) = entries.segments.pop_front_if(|segment| segment.next() <= next) else { break };
            covered.push(segment);
        }
        drop(entries);
        covered.into_iter().try_for_each(Segment::delete)
    }

    fn put(&self, name: &str, value: &[u8]) -> io::Result<()> {
        self.hard.put(name, value)?;
        if name == VOTE
            && let Ok(vote) = codec::decode::<VoteRecord>(value)
        {
            self.watermark.note_term(vote.term);
        }
        Ok(())
    }

    fn hint(&self, name: &str, value: &[u8]) -> io::Result<()> {
        self.hard.hint(name, value)
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.hard.get(name)
    }

    fn sync(&self) -> io::Result<()> {
        let noted = self.watermark.noted();
        let Unsynced { files, dir } = std::mem::take(&mut *self.unsynced());
        self.hard.sync()?;
        for file in files {
            file.sync_data()?;
        }
        if dir {
            sync_dir(&self.dir)?;
        }
        self.watermark.keep(noted)
    }

    fn reached(&self) -> Reached {
        self.reached
    }
}

#[cfg(test)]
mod tests;
