//! Disks that are full or damaged, without root.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand::rngs::StdRng;

/// The file of a replica's log.
pub(crate) fn log_file(work_dir: &Path) -> PathBuf {
    work_dir.join("data/log/db")
}

/// A replica's snapshot.
pub(crate) fn snapshot_file(work_dir: &Path) -> Result<PathBuf> {
    let mut files = std::fs::read_dir(work_dir.join("data/snapshots"))?;
    Ok(files.next().context("there is no snapshot")??.path())
}

/// Lets a process write no file beyond so many bytes; `Err` is why that is not possible here.
pub(crate) fn limit_files(process: u32, bytes: u64) -> Result<(), String> {
    let limited = Command::new("prlimit").arg(format!("--pid={process}")).arg(format!("--fsize={bytes}:")).output();
    match limited {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(format!("prlimit: {error}")),
    }
}

/// Loses a log: what sled takes for a new one, without a word.
pub(crate) fn lose(file: &Path) -> Result<()> {
    let len = std::fs::metadata(file).with_context(|| format!("there is no {}", file.display()))?.len();
    let len = usize::try_from(len).context("a log fits into memory")?;
    std::fs::write(file, vec![0; len]).with_context(|| format!("could not write {}", file.display()))
}

/// Flips a byte.
pub(crate) fn flip(file: &Path, rng: &mut StdRng) -> Result<()> {
    let mut bytes = std::fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    ensure!(!bytes.is_empty(), "{} is empty", file.display());
    let at = rng.random_range(0..bytes.len());
    bytes[at] ^= 0xff;
    std::fs::write(file, bytes).with_context(|| format!("could not write {}", file.display()))
}
