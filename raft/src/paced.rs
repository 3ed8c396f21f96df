//! A large file, written so that others get the disk and the processor in between.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Bytes that are made durable at once. A sync of another file may have to wait for them.
const CHUNK_BYTES: usize = 512 * 1024;

/// The longest pause between two chunks.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What is written to, and the time that it takes.
pub(crate) trait Disk: Write {
    /// Makes durable what was written.
    fn sync(&mut self) -> io::Result<()>;

    /// The time.
    fn now(&self) -> Instant;

    /// Lets others have the disk.
    fn rest(&mut self, pause: Duration);
}

impl Disk for &File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn rest(&mut self, pause: Duration) {
        std::thread::sleep(pause);
    }
}

/// Makes what it writes durable in chunks, and rests after each as long as it took.
pub(crate) struct Paced<D> {
    disk: D,
    /// Bytes since the last sync, and when it was.
    unsynced: usize,
    since: Instant,
}

impl<D: Disk> Paced<D> {
    pub(crate) fn new(disk: D) -> Self {
        let since = disk.now();
        Self { disk, unsynced: 0, since }
    }
}

impl<D: Disk> Write for Paced<D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.disk.write(bytes)?;
        self.unsynced += written;
        if self.unsynced >= CHUNK_BYTES {
            self.disk.sync()?;
            let took = self.disk.now() - self.since;
            self.disk.rest(took.min(PAUSE_MAX));
            self.unsynced = 0;
            self.since = self.disk.now();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.flush()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A disk with a clock of its own: a sync takes as long as it is told to, and all else no time.
    pub(crate) struct SlowDisk {
        now: Instant,
        sync_takes: Duration,
        unsynced: usize,
        pub(crate) most_unsynced: usize,
        pub(crate) rests: Vec<Duration>,
    }

    impl SlowDisk {
        pub(crate) fn new(sync_takes: Duration) -> Self {
            Self { now: Instant::now(), sync_takes, unsynced: 0, most_unsynced: 0, rests: Vec::new() }
        }
    }

    impl Write for &mut SlowDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.unsynced += bytes.len();
            self.most_unsynced = self.most_unsynced.max(self.unsynced);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Disk for &mut SlowDisk {
        fn sync(&mut self) -> io::Result<()> {
            self.now += self.sync_takes;
            self.unsynced = 0;
            Ok(())
        }

        fn now(&self) -> Instant {
            self.now
        }

        fn rest(&mut self, pause: Duration) {
            self.now += pause;
            self.rests.push(pause);
        }
    }

    /// What becomes of a disk that gets four chunks and a half, by 4 KiB.
    fn after_a_file(sync_takes: Duration) -> SlowDisk {
        let mut disk = SlowDisk::new(sync_takes);
        let mut paced = Paced::new(&mut disk);
        for _ in 0..(CHUNK_BYTES * 9 / 2) / 4096 {
            paced.write_all(&[7; 4096]).unwrap();
        }
        disk
    }

    #[test]
    fn a_file_is_synced_in_chunks_with_a_rest_as_long_as_each_took() {
        let took = Duration::from_millis(20);
        let disk = after_a_file(took);
        assert_eq!(disk.rests, [took; 4]);
        assert_eq!((disk.most_unsynced, disk.unsynced), (CHUNK_BYTES, CHUNK_BYTES / 2));
    }

    #[test]
    fn no_rest_is_longer_than_others_need() {
        assert_eq!(after_a_file(Duration::from_secs(1)).rests, [PAUSE_MAX; 4]);
    }
}
