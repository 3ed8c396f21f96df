//! The log and the hard state: what a replica must not forget.
//!
//! [`LogBackend`] is the seam to the disk: ten methods, so that the engine can be replaced and
//! faults can be put in. [`LogStore`] is openraft's view of it. Appended entries are readable at
//! once and durable when the flusher says so; it makes one fsync for all that queued up meanwhile.

mod backend;
mod recent;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{ErrorSubject, ErrorVerb, LogState, OptionalSend, RaftLogReader, StorageIOError};

use crate::appends::Announcer;
use crate::beside;
use crate::codec::{self, CodecError};
use crate::covered::Covered;
use crate::flusher::{Flusher, Job};
use crate::record::{EntryRecord, LogIdRecord, VoteRecord};
use crate::types::{
    Entry, LogId, StorageError, TypeConfig, Vote, entry, entry_record, log_id, log_id_record, vote, vote_record,
};
pub(crate) use backend::LogBackend;
use recent::Recent;

/// Bytes of entries that one read returns at most, so that one message never outgrows the
/// transport. At least one entry is always returned.
const READ_BYTES_MAX: usize = 1024 * 1024;

pub(crate) const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";

/// openraft's log storage on a [`LogBackend`]. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    backend: Arc<dyn LogBackend>,
    flusher: Flusher,
    recent: Arc<Mutex<Recent>>,
    /// Index of the first entry that was not removed; some before may still be there.
    first: Arc<AtomicU64>,
    /// Index after the last entry.
    end: Arc<AtomicU64>,
    /// Up to where the log is to be cut, until that is done.
    due: Arc<Mutex<Option<LogId>>>,
    /// Held while it is cut.
    cutting: Arc<Mutex<()>>,
    covered: Option<Covered>,
    announcer: Announcer,
}

impl LogStore {
    /// The log on `backend`, checked from end to end: every entry is readable and none is missing.
    ///
    /// # Errors
    /// What [`LogBackend`] says, or the first fault of a record as [`io::ErrorKind::InvalidData`]
    /// with a [`CodecError`] inside.
    pub(crate) fn open(backend: Arc<dyn LogBackend>, flusher: Flusher) -> io::Result<Self> {
        let log = Self {
            backend,
            flusher,
            recent: Arc::default(),
            first: Arc::default(),
            end: Arc::default(),
            due: Arc::default(),
            cutting: Arc::default(),
            covered: None,
            announcer: Announcer::default(),
        };
        let mut next = match log.purged()? {
            // A crash may have cut a purge short.
            Some(purged) => {
                log.backend.purge(purged.index)?;
                purged.index + 1
            }
            None => 0,
        };
        if let Some((last, _)) = log.backend.last()? {
            while next <= last {
                let found = log.read(next, last + 1, READ_BYTES_MAX)?;
                if found.is_empty() {
                    return Err(corrupted(format!("log entry {next} is missing")));
                }
                for entry in found {
                    if entry.log_id.index != next {
                        return Err(corrupted(format!("log entry {next} is missing")));
                    }
                    next += 1;
                }
            }
        }
        let last = log.backend.last()?.map_or(0, |(last, _)| last).max(log.purged()?.map_or(0, |purged| purged.index));
        let term = log.hard::<VoteRecord>(VOTE)?.map_or(0, |vote| vote.term);
        let reached = log.backend.reached();
        if last < reached.last || term < reached.term {
            let was = format!("entry {} in term {}", reached.last, reached.term);
            return Err(corrupted(format!("log ends at entry {last} in term {term}, it went to {was}")));
        }
        log.hard::<Option<LogIdRecord>>(COMMITTED)?;
        log.end.store(last + 1, Ordering::Release);
        Ok(log)
    }

    /// The same, but nothing is removed that is not in a snapshot.
    pub(crate) fn covered_by(self, snapshots: Covered) -> Self {
        Self { covered: Some(snapshots), ..self }
    }

    /// Tells what is appended, as soon as it is.
    pub(crate) fn announcer(&self) -> Announcer {
        self.announcer.clone()
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_pristine(&self) -> io::Result<bool> {
        Ok(self.backend.last()?.is_none() && self.hard::<VoteRecord>(VOTE)?.is_none() && self.purged()?.is_none())
    }

    /// The last entry that was removed because a snapshot covers it.
    pub(crate) fn purged(&self) -> io::Result<Option<LogId>> {
        Ok(self.hard::<LogIdRecord>(PURGED)?.map(log_id))
    }

    /// Forgets all entries: the log continues after `last`, which a snapshot holds.
    pub(crate) fn restart_after(&self, last: LogId, vote: &Vote) -> io::Result<()> {
        self.set_hard(VOTE, &vote_record(vote))?;
        self.set_hard(COMMITTED, &Some(log_id_record(&last)))?;
        self.set_hard(PURGED, &log_id_record(&last))?;
        self.backend.purge(last.index)?;
        self.backend.sync()
    }

    fn hard<T: serde::de::DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match self.backend.get(name)? {
            None => Ok(None),
            Some(bytes) => codec::decode(&bytes).map(Some).map_err(invalid),
        }
    }

    fn set_hard<T: serde::Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        self.backend.put(name, &codec::encode(value).map_err(invalid)?)
    }

    /// Reads entries, the first of which is `from`; none when that is not there.
    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        if let Some(found) = self.recent.lock().unwrap_or_else(PoisonError::into_inner).range(from, to, bytes_max) {
            return Ok(found);
        }
        let records = self.backend.range(from, to, bytes_max)?;
        if records.first().is_none_or(|(index, _)| *index != from) {
            return Ok(Vec::new());
        }
        records
            .into_iter()
            .map(|(index, bytes)| {
                let record: EntryRecord = codec::decode(&bytes).map_err(invalid)?;
                if record.log_id.index != index {
                    return Err(corrupted(format!("log entry {index} says that it is {}", record.log_id.index)));
                }
                Ok(entry(record))
            })
            .collect()
    }

    fn append_entries(&self, entries: Vec<Entry>) -> io::Result<()> {
        let records = entries
            .iter()
            .map(|e| Ok((e.log_id.index, codec::encode(&entry_record(e)).map_err(invalid)?)))
            .collect::<io::Result<Vec<_>>>()?;
        self.backend.append(&records)?;
        if let Some(last) = entries.last() {
            self.end.store(last.log_id.index + 1, Ordering::Release);
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            recent.push(entry);
        }
        Ok(())
    }

    fn due(&self) -> Option<LogId> {
        *self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until_covered(&self, upto: LogId) -> io::Result<()> {
        match &self.covered {
            Some(snapshots) => snapshots.until(upto.index).await,
            None => Ok(()),
        }
    }

    /// Removes entries that a snapshot has. The mark first: a crash in between leaves entries that the next
    /// start removes.
    fn cut(&self, upto: LogId) -> io::Result<()> {
        let _alone = self.cutting.lock().unwrap_or_else(PoisonError::into_inner);
        // A later cut may be first: the mark must not go back behind it.
        if self.purged()? < Some(upto) {
            self.set_hard(PURGED, &log_id_record(&upto))?;
        }
        self.backend.purge(upto.index)?;
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.take_if(|due| *due <= upto);
        Ok(())
    }

    /// Before entries that follow a snapshot, and not the log: it must be cut by then, or a crash would leave a
    /// hole in it.
    async fn reach(&self, first: &Entry) -> io::Result<()> {
        match self.due() {
            Some(due) if first.log_id.index > self.end.load(Ordering::Acquire) => {
                self.until_covered(due).await?;
                self.cut(due)
            }
            _ => Ok(()),
        }
    }

    /// Waits for a sync that covers all that was written before.
    async fn synced(&self) -> io::Result<()> {
        let (done, synced) = tokio::sync::oneshot::channel();
        self.flusher.queue(Job::Wait(done))?;
        synced.await.map_err(|_| io::Error::other("flusher stopped"))?
    }
}

pub(crate) fn invalid(error: CodecError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn corrupted(what: String) -> io::Error {
    invalid(CodecError::Corrupted(what))
}

pub(crate) fn storage_error(verb: ErrorVerb, subject: ErrorSubject<u64>, error: &io::Error) -> StorageError {
    StorageIOError::new(subject, verb, openraft::AnyError::new(error)).into()
}

fn read_error(error: &io::Error) -> StorageError {
    storage_error(ErrorVerb::Read, ErrorSubject::Logs, error)
}

fn write_error(error: &io::Error) -> StorageError {
    storage_error(ErrorVerb::Write, ErrorSubject::Logs, error)
}

impl RaftLogReader<TypeConfig> for LogStore {
    #[allow(clippy::result_large_err, reason = "openraft's error")]
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(from) => from + 1,
            Bound::Unbounded => 0,
        };
        let from = from.max(self.first.load(Ordering::Acquire));
        let to = match range.end_bound() {
            Bound::Included(to) => to + 1,
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        if from >= to {
            return Ok(Vec::new());
        }
        if let Some(found) = self.recent.lock().unwrap_or_else(PoisonError::into_inner).range(from, to, usize::MAX)
            && found.last().is_some_and(|last| last.log_id.index + 1 == to)
        {
            return Ok(found);
        }
        let records = self.backend.range(from, to, usize::MAX).map_err(|e| read_error(&e))?;
        records
            .into_iter()
            .map(|(_, bytes)| Ok(entry(codec::decode(&bytes).map_err(|e| read_error(&invalid(e)))?)))
            .collect()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        if start >= end {
            return Ok(Vec::new());
        }
        // None is no fault: one that led a moment ago may still look for what its successor replaced.
        self.read(start, end, READ_BYTES_MAX).map_err(|e| read_error(&e))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let purged = self.purged().map_err(|e| read_error(&e))?.max(self.due());
        let last = self.backend.last().map_err(|e| read_error(&e))?;
        let last = match last {
            Some((_, bytes)) => {
                let record: EntryRecord = codec::decode(&bytes).map_err(|e| read_error(&invalid(e)))?;
                Some(log_id(record.log_id))
            }
            None => None,
        };
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.max(purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let error = |e: io::Error| storage_error(ErrorVerb::Write, ErrorSubject::Vote, &e);
        self.set_hard(VOTE, &vote_record(vote)).map_err(error)?;
        self.synced().await.map_err(error)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let record = self.hard(VOTE).map_err(|e| storage_error(ErrorVerb::Read, ErrorSubject::Vote, &e))?;
        // Asked once, at the start. A replica that led does not lead on after a restart, as openraft
        // would have it: it may have acknowledged more than it remembers as committed, and would
        // answer reads from before that; and followers may have entries that its own disk lost, in the place
        // of which it would make others. It is elected again, in another term.
        Ok(record.map(|record| vote(VoteRecord { committed: false, ..record })))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.announcer.committed(committed);
        // Not synced: it only saves a restarted replica the wait for the leader.
        let record = codec::encode(&committed.as_ref().map(log_id_record)).map_err(|e| write_error(&invalid(e)))?;
        self.backend.hint(COMMITTED, &record).map_err(|e| write_error(&e))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        let record: Option<Option<LogIdRecord>> = self.hard(COMMITTED).map_err(|e| read_error(&e))?;
        // It may have outlived entries that a crash took: those before them are committed all the same.
        let last = self.get_log_state().await?.last_log_id;
        Ok(record.flatten().map(log_id).min(last))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        if let Some(first) = entries.first() {
            self.reach(first).await.map_err(|e| write_error(&e))?;
        }
        self.announcer.appended(&entries);
        self.append_entries(entries).map_err(|e| write_error(&e))?;
        self.flusher.queue(Job::Log(callback)).map_err(|e| write_error(&e))
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).truncate(log_id.index);
        self.backend.truncate(log_id.index).map_err(|e| write_error(&e))?;
        self.end.store(log_id.index, Ordering::Release);
        self.synced().await.map_err(|e| write_error(&e))
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.first.fetch_max(log_id.index + 1, Ordering::AcqRel);
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = Some(log_id);
        // Writers do not wait for it: nobody reads what is removed.
        let log = self.clone();
        tokio::spawn(async move {
            let cut = async {
                log.until_covered(log_id).await?;
                beside::done(move || log.cut(log_id)).await
            };
            if let Err(error) = cut.await {
                tracing::warn!(%error, "log is not cut, the next start does it");
            }
        });
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.purge(log_id.index);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
