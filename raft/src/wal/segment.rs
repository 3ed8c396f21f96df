//! One file of the log: entries with consecutive indexes.
//!
//! `KUMALOG | format (1 byte) | index of the first entry (8 bytes)`, then a record for each entry:
//! `length (4 bytes) | xxh3-64 of the value, seeded with the index (8 bytes) | value`; numbers are little
//! endian. Behind the last record are zeros, written ahead so that a sync need not change the file's
//! size as well, or what a crash left of records that were never acknowledged.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::codec::CodecError;
use crate::log::invalid;

const MAGIC: &[u8; 7] = b"KUMALOG";
const FORMAT: u8 = 1;
const FILE_HEAD_BYTES: usize = 16;
const RECORD_HEAD_BYTES: usize = 12;

/// Zeros that are written behind the records when these reach the end of the file.
const AHEAD_BYTES: u64 = 256 * 1024;

/// An open file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: Arc<File>,
    first: u64,
    /// Where each record ends.
    ends: Vec<u64>,
    /// Bytes of the file, zeros included.
    len: u64,
}

/// The name of the file whose first entry is this.
fn name(first: u64) -> String {
    format!("{first:020}.log")
}

impl Segment {
    /// Makes a file in `dir`, in the place of one that has no entries.
    pub(super) fn create(dir: &Path, first: u64) -> io::Result<Self> {
        let path = dir.join(name(first));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(Self { path, file: Arc::new(file), first, ends: Vec::new(), len: 0 })
    }

    /// Opens the file, up to its first record that is not whole. Nothing is changed.
    ///
    /// # Errors
    /// The disk's; [`CodecError::Newer`] and [`CodecError::Corrupted`] inside of
    /// [`io::ErrorKind::InvalidData`].
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let bytes = std::fs::read(path)?;
        let corrupted = |what: &str| invalid(CodecError::Corrupted(format!("{}: {what}", path.display())));
        let named = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        let first: u64 = named.ok_or_else(|| corrupted("the name is not that of a log file"))?;
        let mut segment =
            Self { path: path.to_owned(), file: Arc::new(file), first, ends: Vec::new(), len: bytes.len() as u64 };
        let Some(head) = bytes.first_chunk::<FILE_HEAD_BYTES>().filter(|head| head.iter().any(|byte| *byte != 0))
        else {
            // The crash came before the first record was durable.
            return Ok(segment);
        };
        let (magic, rest) = head.split_at(MAGIC.len());
        let (format, index) = rest.split_at(1);
        if magic != MAGIC || format == [0] {
            return Err(corrupted("it does not begin like a log file"));
        }
        if format[0] > FORMAT {
            return Err(invalid(CodecError::Newer { found: format[0], reads: FORMAT }));
        }
        if index != first.to_le_bytes() {
            return Err(corrupted("it begins with another entry than its name says"));
        }
        let mut at = FILE_HEAD_BYTES;
        while let Some(value) = record(&bytes[at..], segment.next()) {
            at += RECORD_HEAD_BYTES + value.len();
            segment.ends.push(at as u64);
        }
        Ok(segment)
    }

    /// Index of the first entry.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Index of the entry after the last one.
    pub(super) fn next(&self) -> u64 {
        self.first + self.ends.len() as u64
    }

    /// Bytes of it that are in use.
    pub(super) fn used(&self) -> u64 {
        self.ends.last().copied().unwrap_or_default()
    }

    /// The file, for a sync.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Where the record of an entry begins.
    fn start(&self, index: u64) -> u64 {
        if index == self.first { FILE_HEAD_BYTES as u64 } else { self.end_of(index - 1) }
    }

    /// Where the record of an entry ends, which is here.
    pub(super) fn end_of(&self, index: u64) -> u64 {
        self.ends[(index - self.first) as usize]
    }

    /// Adds entries; `buffer` is room to put their bytes together.
    ///
    /// # Errors
    /// The disk's: then none counts as added.
    pub(super) fn append<'a>(
        &mut self,
        values: impl Iterator<Item = &'a [u8]>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        buffer.clear();
        let mut at = self.used();
        if self.ends.is_empty() {
            at = 0;
            buffer.extend_from_slice(MAGIC);
            buffer.push(FORMAT);
            buffer.extend_from_slice(&self.first.to_le_bytes());
        }
        let (mut index, count) = (self.next(), self.ends.len());
        for value in values {
            let len = u32::try_from(value.len()).map_err(|_| io::Error::other("log entry is too large"))?;
            buffer.extend_from_slice(&len.to_le_bytes());
            buffer.extend_from_slice(&xxh3_64_with_seed(value, index).to_le_bytes());
            buffer.extend_from_slice(value);
            self.ends.push(at + buffer.len() as u64);
            index += 1;
        }
        let end = at + buffer.len() as u64;
        let len = if end > self.len { end + AHEAD_BYTES } else { self.len };
        if len > self.len {
            buffer.resize((len - at) as usize, 0);
        }
        let written = self.file.write_all_at(buffer, at);
        match written {
            Ok(()) => self.len = len,
            Err(_) => self.ends.truncate(count),
        }
        written
    }

    /// Reads entries from `from`, which is here, up to but without `to`, until they exceed
    /// `bytes_max`; at least one.
    ///
    /// # Errors
    /// The disk's; [`CodecError::Corrupted`] inside of [`io::ErrorKind::InvalidData`] when they are not
    /// what was written.
    pub(super) fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let start = self.start(from);
        let limit = start.saturating_add(bytes_max as u64);
        let mut end = from + 1;
        while end < to && self.start(end) < limit {
            end += 1;
        }
        let mut bytes = vec![0; (self.start(end) - start) as usize];
        self.file.read_exact_at(&mut bytes, start)?;
        let mut at = 0;
        let mut entries = Vec::with_capacity((end - from) as usize);
        for index in from..end {
            let Some(value) = record(&bytes[at..], index) else {
                let what = format!("{}: log entry {index} is not what was written", self.path.display());
                return Err(invalid(CodecError::Corrupted(what)));
            };
            at += RECORD_HEAD_BYTES + value.len();
            entries.push((index, value.to_vec()));
        }
        Ok(entries)
    }

    /// Removes entries from this one on, which is here, and whatever is behind them.
    pub(super) fn truncate(&mut self, from: u64) -> io::Result<()> {
        let end = if from == self.first { 0 } else { self.start(from) };
        self.file.set_len(end)?;
        self.ends.truncate((from - self.first) as usize);
        self.len = end;
        Ok(())
    }

    /// Deletes the file.
    pub(super) fn delete(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// The value of the record at the beginning of `bytes`, when it is whole and of this entry.
fn record(bytes: &[u8], index: u64) -> Option<&[u8]> {
    let (head, rest) = bytes.split_first_chunk::<RECORD_HEAD_BYTES>()?;
    let (len, checksum) = head.split_first_chunk::<4>()?;
    let value = rest.get(..u32::from_le_bytes(*len) as usize)?;
    (checksum == xxh3_64_with_seed(value, index).to_le_bytes()).then_some(value)
}
