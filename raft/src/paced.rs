//! A large file, written so that others get the disk and the processor in between.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Bytes that are made durable at once. A sync of another file may have to wait for them.
const CHUNK_BYTES: usize = 512 * 1024;

/// The longest pause between two chunks.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Makes what it writes durable in chunks, and rests after each as long as it took.
pub(crate) struct Paced<'a> {
    file: &'a File,
    /// Bytes since the last sync, and when it was.
    unsynced: usize,
    since: Instant,
}

impl<'a> Paced<'a> {
    pub(crate) fn new(file: &'a File) -> Self {
        Self { file, unsynced: 0, since: Instant::now() }
    }
}

impl Write for Paced<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced += written;
        if self.unsynced >= CHUNK_BYTES {
            self.file.sync_data()?;
            std::thread::sleep(self.since.elapsed().min(PAUSE_MAX));
            self.unsynced = 0;
            self.since = Instant::now();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
