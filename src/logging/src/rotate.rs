//! A log file that is set aside when it is full; old ones are deleted by number and by age.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const MEGABYTE: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When a file is set aside, and which of those are kept. Zero means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after which a file is set aside.
    pub size: u64,
    /// How many old files are kept.
    pub files: usize,
    /// How long an old file is kept.
    pub age: Duration,
}

impl Limits {
    /// In the units of the flags `--log-max-size`, `--log-max-retained-files` and `--log-max-age`.
    pub fn of_flags(megabytes: u64, files: usize, days: u32) -> Self {
        Self { size: megabytes.saturating_mul(MEGABYTE), files, age: DAY * days }
    }
}

/// The current file. Old ones lie beside it, with the time at which they were set aside in their
/// names: `kuma.log` becomes `kuma-2026-01-31T10-20-30.123.log`.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    limits: Limits,
    file: File,
    written: u64,
    /// When a file was last set aside.
    last: jiff::Timestamp,
}

impl RotatingFile {
    /// Opens the file, and goes on at its end.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path, limits: Limits) -> io::Result<Self> {
        let file = append(path)?;
        let written = file.metadata()?.len();
        let rotating = Self { path: path.to_owned(), limits, file, written, last: jiff::Timestamp::UNIX_EPOCH };
        rotating.delete_old();
        Ok(rotating)
    }

    fn rotate(&mut self) -> io::Result<()> {
        // Two within one millisecond still sort in the order in which they were set aside.
        let time = jiff::Timestamp::now().max(self.last + Duration::from_millis(1));
        let target = self.aside(time);
        self.last = time;
        std::fs::rename(&self.path, target)?;
        self.file = append(&self.path)?;
        self.written = 0;
        self.delete_old();
        Ok(())
    }

    fn aside(&self, time: jiff::Timestamp) -> PathBuf {
        let (stem, extension) = self.name();
        self.path.with_file_name(format!("{stem}-{}{extension}", time.strftime("%Y-%m-%dT%H-%M-%S.%3f")))
    }

    /// The name without its extension, and the extension with its dot.
    fn name(&self) -> (String, String) {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let extension = self.path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
        (stem, extension)
    }

    /// Files set aside before, newest first.
    fn old_files(&self) -> Vec<PathBuf> {
        let (stem, extension) = self.name();
        let is_old = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let time = name.strip_prefix(&format!("{stem}-")).and_then(|rest| rest.strip_suffix(&extension));
            time.is_some_and(|time| jiff::civil::DateTime::strptime("%Y-%m-%dT%H-%M-%S.%f", time).is_ok())
        };
        let folder = self.path.parent().map(std::fs::read_dir);
        let entries = folder.and_then(Result::ok).into_iter().flatten().flatten();
        let mut old: Vec<_> = entries.map(|entry| entry.path()).filter(|path| is_old(path)).collect();
        old.sort_unstable_by(|a, b| b.cmp(a));
        old
    }

    /// Deletes what the limits do not allow. What cannot be deleted must not end the log.
    fn delete_old(&self) {
        let oldest = SystemTime::now().checked_sub(self.limits.age).filter(|_| !self.limits.age.is_zero());
        for (n, path) in self.old_files().into_iter().enumerate() {
            let modified = path.metadata().and_then(|m| m.modified()).ok();
            let is_too_old = oldest.zip(modified).is_some_and(|(oldest, modified)| modified < oldest);
            if is_too_old || (self.limits.files > 0 && n >= self.limits.files) {
                drop(std::fs::remove_file(path));
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for RotatingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let is_full = self.limits.size > 0 && self.written.saturating_add(size) > self.limits.size;
        // A file that cannot be set aside is written on: a long log is better than none.
        if is_full && self.written > 0 && self.rotate().is_err() {
            self.written = 0;
        }
        let written = self.file.write(bytes)?;
        self.written += u64::try_from(written).unwrap_or(u64::MAX);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(limits: Limits) -> (tempfile::TempDir, RotatingFile) {
        let dir = tempfile::tempdir().unwrap();
        let file = RotatingFile::open(&dir.path().join("kuma.log"), limits).unwrap();
        (dir, file)
    }

    fn limits(size: u64, files: usize) -> Limits {
        Limits { size, files, age: Duration::ZERO }
    }

    #[test]
    fn a_full_file_is_set_aside_and_no_line_is_cut_or_lost() {
        let (_dir, mut log) = log(limits(10, 0));
        for line in ["one 56\n", "two\n", "three\n", "longer than a file\n", "end\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let mut all: Vec<_> = log.old_files();
        all.reverse();
        all.push(log.path.clone());
        let texts: Vec<_> = all.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts, ["one 56\n", "two\nthree\n", "longer than a file\n", "end\n"]);
    }

    #[test]
    fn the_newest_old_files_are_kept() {
        let (_dir, mut log) = log(limits(1, 2));
        for n in 0..6 {
            log.write_all(n.to_string().as_bytes()).unwrap();
        }
        let texts: Vec<_> = log.old_files().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts, ["4", "3"]);
    }

    #[test]
    fn files_of_others_are_left_alone_and_old_ones_go() {
        let (dir, log) = log(Limits { age: DAY, ..limits(1, 0) });
        let [other, old, new] =
            ["kuma-notes.log", "kuma-2020-01-31T10-20-30.123.log", "kuma-2020-02-01T10-20-30.123.log"]
                .map(|name| dir.path().join(name));
        for path in [&other, &old, &new] {
            std::fs::write(path, "x").unwrap();
        }
        for path in [&other, &old] {
            File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - 2 * DAY).unwrap();
        }
        log.delete_old();
        assert!(other.exists() && new.exists() && !old.exists());
    }

    #[test]
    fn a_restart_goes_on_in_the_same_file() {
        let (dir, mut log) = log(limits(100, 0));
        log.write_all(b"before\n").unwrap();
        let mut again = RotatingFile::open(&dir.path().join("kuma.log"), limits(100, 0)).unwrap();
        again.write_all(b"after\n").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("kuma.log")).unwrap(), "before\nafter\n");
        assert!(again.old_files().is_empty());
    }
}
