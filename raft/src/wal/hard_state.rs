//! The few named values beside the entries: the vote, and marks. They are in sled.
//!
//! sled's own flush does not reach the disk: it writes and syncs a file range, without the file's
//! metadata and without a barrier, so an own handle of sled's file is synced after it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sled::{Db, Tree};

/// sled's page cache, of which a few values need nothing.
const CACHE_BYTES: u64 = 1024 * 1024;

/// How long an open waits for the previous owner in this process to let go of the file.
const OPEN_WAIT: Duration = Duration::from_secs(2);

/// How often hints are handed to the operating system.
const HINT_INTERVAL: Duration = Duration::from_secs(1);

/// Named values in a directory of their own.
#[derive(Debug)]
pub(super) struct HardState {
    db: Db,
    values: Tree,
    /// An own handle of sled's file, for the fsync that sled does not do.
    file: File,
    is_unsynced: AtomicBool,
    /// Held while they are synced: whoever finds nothing to sync may rely on it.
    syncing: Mutex<()>,
    hinted: Mutex<Option<Instant>>,
}

impl HardState {
    /// Opens or creates them in `dir`.
    ///
    /// # Errors
    /// sled's, as [`io::Error`]; corruption as [`io::ErrorKind::InvalidData`].
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let db = open_db(dir)?;
        let values = db.open_tree("hard").map_err(io_error)?;
        let file = File::options().read(true).write(true).open(dir.join("db"))?;
        let (is_unsynced, syncing, hinted) = (AtomicBool::default(), Mutex::default(), Mutex::default());
        let state = Self { db, values, file, is_unsynced, syncing, hinted };
        state.sync_all()?;
        Ok(state)
    }

    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    pub(super) fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.values.get(name).map_err(io_error)?.map(|value| value.to_vec()))
    }

    /// Sets a value: durable after the next [`Self::sync`].
    pub(super) fn put(&self, name: &str, value: &[u8]) -> io::Result<()> {
        self.values.insert(name, value).map_err(io_error)?;
        self.is_unsynced.store(true, Ordering::Release);
        Ok(())
    }

    /// Sets a value that is durable some time later, while others are written.
    pub(super) fn hint(&self, name: &str, value: &[u8]) -> io::Result<()> {
        self.values.insert(name, value).map_err(io_error)?;
        let mut hinted = self.hinted.lock().unwrap_or_else(PoisonError::into_inner);
        if hinted.is_none_or(|at| at.elapsed() >= HINT_INTERVAL) {
            *hinted = Some(Instant::now());
            self.is_unsynced.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Makes durable what was put before.
    pub(super) fn sync(&self) -> io::Result<()> {
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_unsynced.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let synced = self.sync_all();
        if synced.is_err() {
            self.is_unsynced.store(true, Ordering::Release);
        }
        synced
    }

    /// Makes everything durable, hints included.
    pub(super) fn sync_all(&self) -> io::Result<()> {
        self.db.flush().map_err(io_error)?;
        self.file.sync_data()
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

pub(super) fn io_error(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        sled::Error::Corruption { .. } => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        error => io::Error::other(error.to_string()),
    }
}
