//! Replicas in this process, with mutual TLS between them as between machines.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use model::{Key, Labels, Spec, registry};
use raft::{Join, RaftStore, Role, Settings};
use serde_json::json;
use store::{Store, Txn};
use tempfile::TempDir;

/// How long a group may take to be as it should.
const PATIENCE: Duration = Duration::from_secs(60);

/// Some replicas; the first founded the group.
pub(crate) struct Group {
    pub(crate) replicas: Vec<RaftStore>,
    pub(crate) dir: TempDir,
}

/// Settings of a replica.
pub(crate) fn settings(dir: &Path) -> Settings {
    Settings { listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))), ..Settings::new(dir) }
}

impl Group {
    /// A group of voters, the folders of which are below `dir`.
    pub(crate) async fn of(count: usize, below: &Path, adapt: impl Fn(Settings) -> Settings) -> Result<Self> {
        let dir = tempfile::tempdir_in(below).context("could not make a folder")?;
        let mut group = Self { replicas: Vec::new(), dir };
        for _ in 0..count {
            group.join(&adapt).await?;
        }
        for replica in &group.replicas {
            let votes = |status: &raft::Status| status.members.iter().filter(|member| member.voter).count();
            until(replica, |status| votes(status) == count).await?;
        }
        Ok(group)
    }

    /// Adds one.
    pub(crate) async fn join(&mut self, adapt: &impl Fn(Settings) -> Settings) -> Result<()> {
        let folder = self.dir.path().join(self.replicas.len().to_string());
        let founder = self.replicas.first();
        let join = founder.map(|founder| Join {
            addresses: vec![founder.address().to_owned()],
            token: founder.join_token().unwrap_or_default(),
        });
        let settings = adapt(Settings { join, ..settings(&folder) });
        self.replicas.push(RaftStore::open(settings).await?);
        Ok(())
    }

    /// The one that leads.
    pub(crate) async fn leader(&self) -> Result<&RaftStore> {
        let mut leadership = self.replicas[0].leadership();
        leadership.wait_for(|now| now.term > 0).await?;
        self.replicas.iter().find(|replica| replica.status().role == Role::Leader).context("nobody leads")
    }

    pub(crate) async fn stop(self) {
        for replica in &self.replicas {
            replica.shutdown().await;
        }
    }
}

/// Waits until a replica is as wanted.
pub(crate) async fn until(replica: &RaftStore, wanted: impl Fn(&raft::Status) -> bool) -> Result<()> {
    let start = std::time::Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while !wanted(&replica.status()) {
        looks.tick().await;
        ensure!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {:?}", replica.status());
    }
    Ok(())
}

/// A write of about 1 KB.
pub(crate) fn write(name: u64, value: u64) -> Result<Txn> {
    // What it costs to make must not count.
    let text = format!("{value:016}{}", "x".repeat(1008));
    let spec = Spec::of(json!({ "config": text }))?;
    Ok(Txn::new().put(Key::global(registry::CONFIG, &format!("c{name}")), Labels::new(), spec))
}
