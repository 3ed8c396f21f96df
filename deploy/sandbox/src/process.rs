//! One running binary: its log in a file, its end under control.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// How long a process may take to end before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// How many bytes of the end of a log are shown with an error.
const TAIL_LEN: usize = 4000;

/// A running binary. It is killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with arguments and variables; what it prints goes to `log`, appended.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: &[A],
        variables: &[(&str, String)],
        log: PathBuf,
    ) -> Result<Self> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("could not open {}", log.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("could not share a log")?)
            .stderr(file)
            // Ctrl-C in a terminal is for the sandbox, which stops its processes in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// The process id; `None` when it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let start = log.len().saturating_sub(TAIL_LEN);
        String::from_utf8_lossy(&log[start..]).into_owned()
    }

    /// Its whole log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Empties its log.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn clear_log(&self) -> Result<()> {
        let emptied = std::fs::File::options().write(true).truncate(true).open(&self.log);
        emptied.map(drop).with_context(|| format!("could not empty {}", self.log.display()))
    }

    /// Waits until `done` says so.
    ///
    /// # Errors
    /// When the process ends before that or the time is over; with the end of its log.
    pub async fn wait_until(&mut self, what: &str, limit: Duration, mut done: impl AsyncFnMut() -> bool) -> Result<()> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            if done().await {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().context("could not look after a process")? {
                bail!("{} ended ({status}) before {what}; the end of its log:\n{}", self.name, self.log_tail());
            }
            if tokio::time::Instant::now() > deadline {
                bail!("{}: {what} took longer than {limit:?}; the end of its log:\n{}", self.name, self.log_tail());
            }
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()) else {
            bail!("{} has ended", self.name);
        };
        kill(Pid::from_raw(pid), signal).with_context(|| format!("could not signal {}", self.name))
    }

    /// Asks the process to end and waits for it; after a while it is killed.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        if self.child.id().is_some() {
            self.signal(Signal::SIGTERM)?;
        }
        match tokio::time::timeout(STOP_GRACE, self.child.wait()).await {
            Ok(status) => status.context("could not wait for a process"),
            Err(_) => self.kill().await,
        }
    }

    /// Kills the process, as a power cut would.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        self.child.start_kill().context("could not kill a process")?;
        self.child.wait().await.context("could not wait for a process")
    }

    /// Waits for the process to end by itself.
    ///
    /// # Errors
    /// When it does not within `limit`.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => status.context("could not wait for a process"),
            Err(_) => bail!("{} still runs after {limit:?}; the end of its log:\n{}", self.name, self.log_tail()),
        }
    }
}
