//! Three control planes as one: writes through any of them, the leader's sudden death, its return,
//! and a backup of it all.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sandbox::{ControlPlane, ControlPlaneSettings, Sandbox, free_ports};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::kumactl::Kumactl;

/// How long a change of the group may take to be seen.
const SOON: Duration = Duration::from_secs(60);
/// How long the group may take to acknowledge a write after its leader was killed.
const FAILOVER_MAX: Duration = Duration::from_secs(60);

/// The control planes, the first of which founded the group, and their replica ids.
struct Group {
    sandbox: Sandbox,
    replicas: Vec<(ControlPlane, u64)>,
}

impl Group {
    async fn of_three() -> Result<Self> {
        let sandbox = Sandbox::new().await?;
        let ports: [u16; 3] = free_ports()?;
        let token = sandbox.dir().join("cp-0/data/join-token").display().to_string();
        let mut replicas = Vec::new();
        for (n, port) in ports.into_iter().enumerate() {
            let mut variables = vec![("KUMA_STORE_RAFT_LISTEN", format!("127.0.0.1:{port}"))];
            if n > 0 {
                variables.push(("KUMA_STORE_RAFT_JOIN", format!("127.0.0.1:{}", ports[0])));
                variables.push(("KUMA_STORE_RAFT_JOIN_TOKEN_FILE", token.clone()));
            }
            let settings = ControlPlaneSettings { variables };
            let replica = ControlPlane::start(&sandbox, &format!("cp-{n}"), settings).await?;
            let id = replica.get("/raft").await?["id"].as_u64().context("no id")?;
            replicas.push((replica, id));
        }
        let group = Self { sandbox, replicas };
        for (replica, _) in &group.replicas {
            replica.until("/raft", SOON, |status| voters(status) == 3).await?;
        }
        Ok(group)
    }

    fn replica(&mut self, n: usize) -> &mut ControlPlane {
        &mut self.replicas[n].0
    }
}

/// How many replicas vote.
fn voters(status: &Value) -> usize {
    let replicas = status["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
    replicas.iter().filter(|replica| replica["role"] != "learner").count()
}

fn mesh(name: &str) -> Value {
    json!({"type": "Mesh", "name": name})
}

/// Writes until it is acknowledged; how long that took.
async fn write_until_acknowledged(replica: &ControlPlane, resource: &Value) -> Result<Duration> {
    let start = Instant::now();
    loop {
        match replica.apply(resource).await {
            Ok(()) => return Ok(start.elapsed()),
            Err(error) if start.elapsed() > FAILOVER_MAX => return Err(error),
            Err(_) => {}
        }
    }
}

/// Restores a backup for the control plane that will be called `name`.
async fn restore(sandbox: &Sandbox, backup: &Path, name: &str) -> Result<()> {
    let data_dir = sandbox.dir().join(name).join("data");
    std::fs::create_dir_all(&data_dir)?;
    std::fs::copy(sandbox.dir().join("cp-0/data/cluster.keys"), data_dir.join("cluster.keys"))?;
    let mut command = Command::new(sandbox.bin("kuma-cp"));
    command.arg("restore").arg(backup).env("KUMA_STORE_RAFT_DATA_DIR", &data_dir);
    let output = command.output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn a_group_of_three_survives_its_leader_and_a_backup_survives_the_group() -> Result<()> {
    let mut group = Group::of_three().await?;
    let leader = group.replicas[0].1;

    // Through a follower, and read consistently at another one.
    group.replica(1).apply(&mesh("first")).await?;
    group.replica(2).get("/meshes/first?consistent=true").await?;

    group.replica(0).process().kill().await?;
    let took = write_until_acknowledged(group.replica(1), &mesh("second")).await?;
    println!("next write acknowledged {} ms after the leader was killed", took.as_millis());
    let led_by_another = |status: &Value| status["leader"].as_u64().is_some_and(|id| id != leader);
    group.replica(2).until("/raft", SOON, led_by_another).await?;
    group.replica(2).get("/meshes/second?consistent=true").await?;

    group.replica(0).start_again().await?;
    group.replica(0).until("/meshes/second", SOON, |_| true).await?;

    let sandbox = &group.sandbox;
    let kumactl = Kumactl { binary: sandbox.bin("kumactl"), config: sandbox.dir().join("kumactl-config") };
    let api = group.replicas[0].0.api();
    kumactl.ok(&["config", "control-planes", "add", "--name=group", "--address", &api], "").await?;
    let shown = kumactl.ok(&["raft", "status"], "").await?;
    ensure!(shown.lines().count() == 4 && shown.contains("leader") && !shown.contains("learner"), "{shown}");
    let status = kumactl.ok(&["status"], "").await?;
    ensure!(status.contains("fsync latency"), "{status}");
    kumactl.ok(&["raft", "handover", &leader.to_string()], "").await?;
    group.replicas[1].0.until("/raft", SOON, |status| status["leader"] == leader).await?;
    kumactl.ok(&["raft", "rotate-key"], "").await?;

    let backup = sandbox.dir().join("backup");
    kumactl.ok(&["backup", "create", &backup.display().to_string()], "").await?;
    restore(sandbox, &backup, "restored").await?;
    let restored = ControlPlane::start(sandbox, "restored", ControlPlaneSettings::default()).await?;
    for name in ["first", "second"] {
        restored.get(&format!("/meshes/{name}")).await?;
    }
    ensure!(voters(&restored.get("/raft").await?) == 1);
    Ok(())
}
