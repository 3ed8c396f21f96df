//! Clocks of replicas that jump, by `libfaketime`: what time it is, not how time passes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rand::Rng;
use rand::rngs::StdRng;

/// Where distributions put the library for programs with threads.
const FOLDERS: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/faketime",
    "/usr/lib/aarch64-linux-gnu/faketime",
    "/usr/lib64/faketime",
    "/usr/lib/faketime",
    "/usr/local/lib/faketime",
];

const LIBRARY: &str = "libfaketimeMT.so.1";

/// How far a clock jumps, at least and at most.
const NEAR: Duration = Duration::from_secs(2 * 60);
const FAR: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// The library; `Err` is why clocks cannot be set here.
pub(crate) fn library() -> Result<PathBuf, String> {
    let places = FOLDERS.iter().map(|folder| Path::new(folder).join(LIBRARY));
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| format!("{LIBRARY} is not installed (faketime)"))
}

/// The clock of one replica.
#[derive(Debug)]
pub(crate) struct Clock {
    file: PathBuf,
    library: PathBuf,
}

impl Clock {
    /// A clock that is right, kept in this file.
    pub(crate) fn right(file: PathBuf, library: PathBuf) -> Result<Self> {
        let clock = Self { file, library };
        clock.set(0)?;
        Ok(clock)
    }

    /// What makes a process go by it.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            // The times of files are those of the disk.
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }

    /// Sets it so many seconds ahead of, or behind, what is right. A running process sees that at once.
    pub(crate) fn set(&self, ahead_s: i64) -> Result<()> {
        // In one step: nobody reads half of it.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{ahead_s:+}\n")).context("could not write a clock")?;
        std::fs::rename(&new, &self.file).context("could not set a clock")
    }
}

/// A jump, in seconds: minutes as likely as days, forward as likely as back.
pub(crate) fn jump(rng: &mut StdRng) -> i64 {
    let length = NEAR.as_secs_f64() * (FAR.as_secs_f64() / NEAR.as_secs_f64()).powf(rng.random());
    let seconds = Duration::from_secs_f64(length).as_secs().cast_signed();
    if rng.random() { seconds } else { -seconds }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn jumps_go_both_ways_by_minutes_and_by_days() {
        let mut rng = StdRng::seed_from_u64(1);
        let jumps: Vec<_> = (0..100).map(|_| jump(&mut rng)).collect();
        let is_between = |least: i64, most: i64| jumps.iter().any(|jump| (least..most).contains(jump));
        assert!(is_between(120, 3600) && is_between(86_400, 259_201), "{jumps:?}");
        assert!(is_between(-3600, -119) && is_between(-259_200, -86_400), "{jumps:?}");
    }

    #[test]
    fn a_process_goes_by_its_clock() {
        let library = match library() {
            Ok(library) => library,
            Err(why) => return println!("skipped: {why}"),
        };
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::right(dir.path().join("clock"), library).unwrap();
        let seconds = || {
            let told = Command::new("date").arg("+%s").envs(clock.variables()).output().unwrap().stdout;
            String::from_utf8(told).unwrap().trim().parse::<i64>().unwrap()
        };
        let before = seconds();
        clock.set(-86_400).unwrap();
        assert!(seconds() < before - 80_000);
        clock.set(86_400).unwrap();
        assert!(seconds() >= before + 86_400);
    }
}
