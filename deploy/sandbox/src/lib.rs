//! A mesh of real processes on this machine: control planes, agents with their Envoys, and the
//! workloads behind them, all on loopback, all in one folder, all gone when it is dropped.
//!
//! The quickstart shows it to people; the end-to-end tests ask questions of it.

mod control_plane;
mod door;
pub mod envoy;
mod ports;
mod process;
mod proxy;
mod replicas;
mod workload;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

pub use control_plane::{ControlPlane, ControlPlaneSettings};
pub use door::Door;
pub use ports::{free_port, free_ports};
pub use process::Process;
pub use proxy::{Outbound, Proxy, ProxySettings, call};
pub use replicas::{Place, Replica, ReplicaSettings, Replicas, voters};
pub use workload::Workload;

/// A folder for everything that one mesh of processes leaves on disk.
#[derive(Debug)]
pub struct Sandbox {
    dir: TempDir,
    bin_dir: PathBuf,
    envoy: PathBuf,
}

impl Sandbox {
    /// A new folder; the project's binaries are looked for beside the running one, and Envoy is
    /// fetched when it is not there yet.
    ///
    /// # Errors
    /// When a binary is missing (it says how to build it) or Envoy cannot be had.
    pub async fn new() -> Result<Self> {
        // An error says that this process has chosen its TLS implementation before.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let bin_dir = bin_dir(&["kuma-cp", "kuma-dp", "kumactl"])?;
        let envoy = envoy::find_or_fetch(&bin_dir).await?;
        Ok(Self { dir: folder()?, bin_dir, envoy })
    }

    /// A new folder for control planes alone: neither Envoy nor the other binaries are needed.
    ///
    /// # Errors
    /// When `kuma-cp` is missing; it says how to build it.
    pub fn of_control_planes() -> Result<Self> {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        Ok(Self { dir: folder()?, bin_dir: bin_dir(&["kuma-cp"])?, envoy: PathBuf::new() })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The path of one of the project's binaries.
    pub fn bin(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }

    /// The path of Envoy.
    pub fn envoy(&self) -> &Path {
        &self.envoy
    }
}

fn folder() -> Result<TempDir> {
    tempfile::Builder::new().prefix("kuma-").tempdir().context("could not make a folder")
}

/// The folder of the project's binaries: that of this process, or (for tests) the one above.
fn bin_dir(wanted: &[&str]) -> Result<PathBuf> {
    let me = std::env::current_exe().context("could not find my own executable")?;
    for dir in me.ancestors().skip(1).take(2) {
        if wanted.iter().all(|name| dir.join(name).is_file()) {
            return Ok(dir.to_owned());
        }
    }
    bail!("{} not built: run `cargo build --workspace`", wanted.join(", "))
}
