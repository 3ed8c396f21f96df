//! The log on sled.
//!
//! sled's own flush does not reach the disk: it writes and syncs a file range, without the file's
//! metadata and without a barrier, so this backend syncs an own handle of sled's file after it.
//! Pages above 128 KiB would go to side files that sled never syncs, and a page holds up to 17
//! values, or a few more after a merge, so payloads are split into parts of at most 4 KiB: key `index (8 bytes, big endian) | part (2 bytes, big endian)`.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use sled::{Batch, Db, IVec, Tree};

use crate::codec;
use crate::log::{LogBackend, VOTE};
use crate::record::VoteRecord;
use crate::watermark::{Reached, Watermark};

const PART_BYTES_MAX: usize = 4 * 1024;

/// sled's page cache; the log is read back rarely.
const CACHE_BYTES: u64 = 48 * 1024 * 1024;

/// Keys removed in one batch: deleting a huge range at once makes sled's file grow instead of shrink,
/// and an append waits while a batch is applied.
const PURGE_BATCH_KEYS: usize = 64;

/// How long an open waits for the previous owner in this process to let go of the file.
const OPEN_WAIT: Duration = Duration::from_secs(2);

/// A [`LogBackend`] in a directory of its own.
#[derive(Debug)]
pub(crate) struct SledLog {
    db: Db,
    log: Tree,
    hard: Tree,
    /// An own handle of sled's file, for the fsync that sled does not do.
    file: File,
    watermark: Watermark,
    /// What the watermark said when the log was opened.
    reached: Reached,
}

impl SledLog {
    /// Opens or creates the log in `dir`.
    ///
    /// # Errors
    /// sled's, as [`io::Error`]; corruption as [`io::ErrorKind::InvalidData`].
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let db = open_db(dir)?;
        let log = db.open_tree("log").map_err(io_error)?;
        let hard = db.open_tree("hard").map_err(io_error)?;
        let file = File::options().read(true).write(true).open(dir.join("db"))?;
        db.flush().map_err(io_error)?;
        file.sync_all()?;
        let watermark = Watermark::open(&dir.join("reached"))?;
        File::open(dir)?.sync_all()?;
        let reached = watermark.noted();
        Ok(Self { db, log, hard, file, watermark, reached })
    }

    /// Collects the parts of entries from an ordered scan, until `stop` says that it is enough.
    fn join(
        scan: impl Iterator<Item = sled::Result<(IVec, IVec)>>,
        mut is_enough: impl FnMut(usize) -> bool,
    ) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let mut entries: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut bytes = 0;
        for item in scan {
            let (key, part) = item.map_err(io_error)?;
            let index = index_of(&key)?;
            match entries.last_mut() {
                Some((last, value)) if *last == index => value.extend_from_slice(&part),
                _ if is_enough(bytes) => break,
                _ => entries.push((index, part.to_vec())),
            }
            bytes += part.len();
        }
        Ok(entries)
    }

    fn remove(&self, keys: impl Iterator<Item = sled::Result<IVec>>) -> io::Result<()> {
        let mut keys = keys.peekable();
        while keys.peek().is_some() {
            let mut batch = Batch::default();
            for key in keys.by_ref().take(PURGE_BATCH_KEYS) {
                batch.remove(key.map_err(io_error)?);
            }
            self.log.apply_batch(batch).map_err(io_error)?;
        }
        Ok(())
    }
}

fn open_db(dir: &Path) -> io::Result<Db> {
    let start = Instant::now();
    loop {
        let opened =
            sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(None).open().map_err(io_error);
        match opened {
            Err(error) if is_locked(&error) && start.elapsed() < OPEN_WAIT => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

fn is_locked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.to_string().contains("lock")
}

fn io_error(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        sled::Error::Corruption { .. } => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        error => io::Error::other(error.to_string()),
    }
}

fn key(index: u64, part: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&index.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

fn index_of(key: &[u8]) -> io::Result<u64> {
    let index = key.first_chunk::<8>().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "short log key"))?;
    Ok(u64::from_be_bytes(*index))
}

impl LogBackend for SledLog {
    fn append(&self, entries: &[(u64, Vec<u8>)]) -> io::Result<()> {
        let mut batch = Batch::default();
        for (index, value) in entries {
            for (number, part) in value.chunks(PART_BYTES_MAX).enumerate() {
                let number = u16::try_from(number).map_err(|_| io::Error::other("log entry is too large"))?;
                batch.insert(&key(*index, number), part);
            }
        }
        self.log.apply_batch(batch).map_err(io_error)?;
        if let Some((last, _)) = entries.last() {
            self.watermark.note_last(*last);
        }
        Ok(())
    }

    fn range(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        Self::join(self.log.range(key(from, 0)..key(to, 0)), |bytes| bytes >= bytes_max)
    }

    fn last(&self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let Some((last, _)) = self.log.last().map_err(io_error)? else { return Ok(None) };
        let index = index_of(&last)?;
        let entry = Self::join(self.log.range(key(index, 0)..), |_| false)?;
        Ok(entry.into_iter().next())
    }

    fn truncate(&self, from: u64) -> io::Result<()> {
        self.watermark.lower(from.saturating_sub(1))?;
        // From the end, so that a crash in between leaves a log without a hole.
        self.remove(self.log.range(key(from, 0)..).keys().rev())
    }

    fn purge(&self, upto: u64) -> io::Result<()> {
        self.remove(self.log.range(..key(upto.saturating_add(1), 0)).keys())
    }

    fn put(&self, name: &str, value: &[u8]) -> io::Result<()> {
        self.hard.insert(name, value).map_err(io_error)?;
        if name == VOTE
            && let Ok(vote) = codec::decode::<VoteRecord>(value)
        {
            self.watermark.note_term(vote.term);
        }
        Ok(())
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.hard.get(name).map_err(io_error)?.map(|value| value.to_vec()))
    }

    fn sync(&self) -> io::Result<()> {
        let noted = self.watermark.noted();
        self.db.flush().map_err(io_error)?;
        self.file.sync_data()?;
        self.watermark.keep(noted)
    }

    fn reached(&self) -> Reached {
        self.reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(index: u64, bytes: usize) -> (u64, Vec<u8>) {
        (index, (0..bytes).map(|i| (i as u64 * 31 + index) as u8).collect())
    }

    #[test]
    fn large_entries_come_back_and_make_no_side_files() {
        let dir = tempfile::tempdir().unwrap();
        let entries: Vec<_> = (1..80).map(|i| value(i, (i as usize % 40) * 10_000 + 1)).collect();
        {
            let log = SledLog::open(dir.path()).unwrap();
            for chunk in entries.chunks(7) {
                log.append(chunk).unwrap();
                log.sync().unwrap();
            }
            // Removing makes sled merge pages.
            log.purge(10).unwrap();
            log.truncate(70).unwrap();
            log.append(&entries[69..]).unwrap();
        }
        let log = SledLog::open(dir.path()).unwrap();
        assert_eq!(log.range(1, 80, usize::MAX).unwrap(), entries[10..]);
        assert_eq!(log.last().unwrap().as_ref(), entries.last());
        let side_files = std::fs::read_dir(dir.path().join("blobs")).map_or(0, Iterator::count);
        assert_eq!(side_files, 0);
    }

    #[test]
    fn a_bounded_range_has_at_least_one_entry() {
        let dir = tempfile::tempdir().unwrap();
        let log = SledLog::open(dir.path()).unwrap();
        log.append(&[value(5, 20_000), value(6, 20_000), value(7, 10)]).unwrap();
        assert_eq!(log.range(5, 8, 1).unwrap(), [value(5, 20_000)]);
        assert_eq!(log.range(5, 8, 20_001).unwrap().len(), 2);
        assert!(log.range(8, 9, 1).unwrap().is_empty());
    }

    #[test]
    fn truncate_and_purge_keep_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let log = SledLog::open(dir.path()).unwrap();
        log.append(&(0..3000).map(|i| value(i, 3)).collect::<Vec<_>>()).unwrap();
        log.truncate(2500).unwrap();
        log.purge(2400).unwrap();
        let kept: Vec<_> = log.range(0, u64::MAX, usize::MAX).unwrap().into_iter().map(|(i, _)| i).collect();
        assert_eq!(kept, (2401..2500).collect::<Vec<_>>());
    }

    #[test]
    fn named_values_survive_a_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let log = SledLog::open(dir.path()).unwrap();
        log.put("vote", b"1").unwrap();
        log.sync().unwrap();
        drop(log);
        assert_eq!(SledLog::open(dir.path()).unwrap().get("vote").unwrap(), Some(b"1".to_vec()));
    }
}
