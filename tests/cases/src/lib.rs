//! Runs Kuma's own data-driven cases against this project.
//!
//! The cases are not part of the project: the variable `KUMA_CASES` says where they lie. Without it
//! every family is skipped, and says so.

use std::path::{Path, PathBuf};

/// The folder of a family of cases; `None`, with a word on standard error, when `KUMA_CASES` is not set.
pub fn family_dir(family: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("KUMA_CASES") else {
        eprintln!("{family}: skipped, KUMA_CASES is not set");
        return None;
    };
    let dir = Path::new(&root).join(family);
    assert!(dir.is_dir(), "KUMA_CASES has no folder {family}");
    Some(dir)
}

/// Counts the cases of a family that hold.
#[derive(Debug, Default)]
pub struct Tally {
    holds: usize,
    failures: Vec<(String, String)>,
}

impl Tally {
    /// Records the outcome of one case.
    pub fn record(&mut self, case: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.holds += 1,
            Err(why) => self.failures.push((case.to_owned(), why)),
        }
    }

    /// Prints `<family>: N of M hold` with the first failures (all of them, in full, when
    /// `KUMA_CASES_VERBOSE` is set).
    ///
    /// # Panics
    /// When fewer than `floor` cases hold: what held once must go on holding.
    pub fn finish(self, family: &str, floor: usize) {
        let all = self.holds + self.failures.len();
        let verbose = std::env::var_os("KUMA_CASES_VERBOSE").is_some();
        println!("{family}: {} of {all} hold", self.holds);
        for (case, why) in &self.failures {
            if verbose {
                println!("  {case}:\n{why}");
            } else {
                println!("  {case}: {}", why.lines().next().unwrap_or_default());
            }
        }
        assert!(self.holds >= floor, "{family}: {} of {all} hold, expected at least {floor}", self.holds);
    }
}
