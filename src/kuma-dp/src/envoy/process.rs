//! The Envoy process.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// How long Envoy may take to stop before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How Envoy is run.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) binary: PathBuf,
    pub(crate) config_path: PathBuf,
    pub(crate) drain_time: Duration,
    pub(crate) log_level: String,
    pub(crate) component_log_level: String,
    /// Worker threads; 0 leaves it to the cpuset.
    pub(crate) concurrency: u32,
}

impl Invocation {
    /// Envoy's arguments, in Kuma's order.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![
            "--config-path".into(),
            self.config_path.clone().into(),
            "--drain-time-s".into(),
            self.drain_time.as_secs().to_string().into(),
            "--drain-strategy".into(),
            "immediate".into(),
            "--disable-hot-restart".into(),
            "--log-level".into(),
            self.log_level.clone().into(),
        ];
        if !self.component_log_level.is_empty() {
            arguments.extend(["--component-log-level".into(), self.component_log_level.clone().into()]);
        }
        if self.concurrency > 0 {
            arguments.extend(["--concurrency".into(), self.concurrency.to_string().into()]);
        } else {
            arguments.push("--cpuset-threads".into());
        }
        arguments
    }

    /// Starts Envoy in a process group of its own. It is started through `kuma-dp exec-envoy`, which
    /// ties its life to ours and then becomes Envoy.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn(&self) -> Result<EnvoyProcess> {
        let myself = std::env::current_exe().context("could not find my own executable")?;
        let child = Command::new(myself)
            .arg("exec-envoy")
            .arg(std::process::id().to_string())
            .arg("--")
            .arg(&self.binary)
            .args(self.arguments())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("could not start {}", self.binary.display()))?;
        Ok(EnvoyProcess { child })
    }
}

/// A running Envoy.
#[derive(Debug)]
pub(crate) struct EnvoyProcess {
    child: Child,
}

impl EnvoyProcess {
    /// Waits until Envoy exits, or until `stop` and then stops it.
    ///
    /// # Errors
    /// When Envoy exits with another code than 0 without having been asked to stop.
    pub(crate) async fn watch(mut self, stop: CancellationToken) -> Result<()> {
        tokio::select! {
            status = self.child.wait() => {
                let status = status.context("could not wait for Envoy")?;
                if status.success() {
                    tracing::info!("Envoy finished");
                    return Ok(());
                }
                bail!("Envoy terminated with an error: {}", describe(status));
            }
            () = stop.cancelled() => {}
        }
        self.stop().await
    }

    async fn stop(&mut self) -> Result<()> {
        let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()) else { return Ok(()) };
        if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGTERM) {
            tracing::debug!(%error, "Envoy is gone already");
        }
        if tokio::time::timeout(STOP_GRACE, self.child.wait()).await.is_err() {
            tracing::warn!(grace = ?STOP_GRACE, "Envoy did not stop, killing it");
            self.child.kill().await.context("could not kill Envoy")?;
        }
        Ok(())
    }
}

fn describe(status: ExitStatus) -> String {
    status.to_string()
}

/// Becomes `command` with the parent-death signal set, so that no Envoy outlives its kuma-dp.
/// Returns only on failure.
pub(crate) fn exec_tied_to_parent(parent: i32, command: &[OsString]) -> anyhow::Error {
    let Some((program, arguments)) = command.split_first() else {
        return anyhow::anyhow!("no command given");
    };
    if let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL) {
        return anyhow::anyhow!("could not set the parent-death signal: {error}");
    }
    if nix::unistd::getppid().as_raw() != parent {
        return anyhow::anyhow!("kuma-dp is gone");
    }
    let error = std::process::Command::new(program).args(arguments).exec();
    anyhow::anyhow!("could not run {}: {error}", Path::new(program).display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_kumas() {
        let mut invocation = Invocation {
            binary: "envoy".into(),
            config_path: "/w/bootstrap.yaml".into(),
            drain_time: Duration::from_secs(30),
            log_level: "info".to_owned(),
            component_log_level: String::new(),
            concurrency: 0,
        };
        let text = |invocation: &Invocation| invocation.arguments().join(" ".as_ref()).into_string().unwrap();
        assert_eq!(
            text(&invocation),
            "--config-path /w/bootstrap.yaml --drain-time-s 30 --drain-strategy immediate --disable-hot-restart \
             --log-level info --cpuset-threads"
        );
        invocation.concurrency = 2;
        invocation.component_log_level = "upstream:debug".to_owned();
        assert!(text(&invocation).ends_with("--component-log-level upstream:debug --concurrency 2"));
    }
}
