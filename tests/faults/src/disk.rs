//! Disks that are full, slow, failing or damaged, without root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::process::Child;

use crate::group::PATIENCE;

/// The file that a replica's log grows in, and how far it is in use: zeros are behind.
pub(crate) fn log_file(work_dir: &Path) -> Result<(PathBuf, usize)> {
    let files = std::fs::read_dir(work_dir.join("data/log/entries"))?;
    let files = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    let newest = files.into_iter().max().context("there is no log")?;
    let used = std::fs::read(&newest)?.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Ok((newest, used))
}

/// A replica's snapshots: the one that counts, and perhaps one that was being written or replaced when
/// it was killed.
pub(crate) fn snapshot_files(work_dir: &Path) -> Result<Vec<PathBuf>> {
    let files = std::fs::read_dir(work_dir.join("data/snapshots"))?;
    let files = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
    ensure!(!files.is_empty(), "there is no snapshot");
    Ok(files)
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

/// Damages a log: a record in it, or its end is lost.
pub(crate) fn damage_log(work_dir: &Path, rng: &mut StdRng) -> Result<()> {
    let (file, used) = log_file(work_dir)?;
    let mut bytes = std::fs::read(&file)?;
    match rng.random() {
        true => bytes[used / 2..].fill(0),
        false => bytes[rng.random_range(0..used / 2)] ^= 0xff,
    }
    std::fs::write(&file, bytes).with_context(|| format!("could not write {}", file.display()))
}

/// Flips a byte.
pub(crate) fn flip(file: &Path, rng: &mut StdRng) -> Result<()> {
    let mut bytes = std::fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    if bytes.is_empty() {
        return Ok(());
    }
    let at = rng.random_range(0..bytes.len());
    bytes[at] ^= 0xff;
    std::fs::write(file, bytes).with_context(|| format!("could not write {}", file.display()))
}

/// Each sync takes a third of a second longer.
pub(crate) const SLOW_SYNC: &str = "fdatasync,fsync:delay_exit=300000";

/// Each sync fails.
pub(crate) const FAILED_SYNC: &str = "fdatasync,fsync:error=EIO";

/// A process whose system calls are tampered with by `strace`.
pub(crate) struct Tampered {
    strace: Child,
}

impl Tampered {
    /// Tampers with a process from now on; `Err` is why that is not possible here.
    pub(crate) async fn attach(process: u32, how: &str) -> Result<Self, String> {
        let said = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
        let messages = said.reopen().map_err(|e| e.to_string())?;
        let strace = tokio::process::Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", &format!("inject={how}"), "-p", &process.to_string()])
            .stdin(Stdio::null())
            .stderr(messages)
            .kill_on_drop(true)
            .spawn();
        let mut strace = strace.map_err(|error| format!("strace: {error}"))?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            let text = std::fs::read_to_string(said.path()).unwrap_or_default();
            if text.contains("attached") {
                return Ok(Self { strace });
            }
            let ended = strace.try_wait().map_err(|e| e.to_string())?.is_some();
            if ended || tokio::time::Instant::now() > deadline {
                return Err(format!("strace: {text}"));
            }
        }
    }

    /// Lets the process be.
    pub(crate) async fn detach(mut self) -> Result<()> {
        if let Some(process) = self.strace.id().and_then(|id| i32::try_from(id).ok()) {
            // It may have ended with the process.
            kill(Pid::from_raw(process), Signal::SIGINT).ok();
        }
        let ended = tokio::time::timeout(PATIENCE, self.strace.wait()).await;
        ended.context("strace does not end")?.context("could not wait for strace")?;
        Ok(())
    }
}
