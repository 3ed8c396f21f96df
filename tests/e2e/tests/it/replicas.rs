//! Three control planes as one: writes through any of them, the leader's sudden death, its return,
//! and a backup of it all.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sandbox::{ControlPlane, ControlPlaneSettings, Replicas, Sandbox, free_ports, voters};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::kumactl::Kumactl;

/// How long a change of the group may take to be seen.
const SOON: Duration = Duration::from_secs(60);
/// How long the group may take to acknowledge a write after its leader was killed.
const FAILOVER_MAX: Duration = Duration::from_secs(60);

pub(crate) fn mesh(name: &str) -> Value {
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
    let sandbox = &Sandbox::new().await?;
    let mut group = Replicas::of_three(sandbox, &[]).await?;
    let leader = group.get(0)?.id;

    // Through a follower, and read consistently at another one.
    group.at(1)?.control_plane.apply(&mesh("first")).await?;
    group.at(2)?.control_plane.get("/meshes/first?consistent=true").await?;

    group.at(0)?.control_plane.process().kill().await?;
    let took = write_until_acknowledged(&group.get(1)?.control_plane, &mesh("second")).await?;
    println!("next write acknowledged {} ms after the leader was killed", took.as_millis());
    let led_by_another = |status: &Value| status["leader"].as_u64().is_some_and(|id| id != leader);
    group.at(2)?.control_plane.until("/raft", SOON, led_by_another).await?;
    group.at(2)?.control_plane.get("/meshes/second?consistent=true").await?;

    group.at(0)?.control_plane.start_again().await?;
    group.at(0)?.control_plane.until("/meshes/second", SOON, |_| true).await?;

    let kumactl = Kumactl { binary: sandbox.bin("kumactl"), config: sandbox.dir().join("kumactl-config") };
    let api = group.get(0)?.control_plane.api();
    kumactl.ok(&["config", "control-planes", "add", "--name=group", "--address", &api], "").await?;
    let shown = kumactl.ok(&["raft", "status"], "").await?;
    ensure!(shown.lines().count() == 4 && shown.contains("leader") && !shown.contains("learner"), "{shown}");
    let status = kumactl.ok(&["status"], "").await?;
    ensure!(status.contains("3 of 3 answer") && status.contains("COMMIT MS"), "{status}");
    kumactl.ok(&["raft", "handover", &leader.to_string()], "").await?;
    group.get(1)?.control_plane.until("/raft", SOON, |status| status["leader"] == leader).await?;
    kumactl.ok(&["raft", "rotate-key"], "").await?;
    kumactl.ok(&["raft", "rotate-join-token"], "").await?;
    let former = kumactl.ok(&["raft", "join-token"], "").await?;
    kumactl.ok(&["raft", "rotate-authority"], "").await?;
    ensure!(kumactl.ok(&["raft", "join-token"], "").await? != former);
    let token = sandbox.dir().join("join-token").display().to_string();
    let added = kumactl.ok(&["raft", "add", "127.0.0.1:1", "--token-file", &token], "").await?;
    ensure!(added.matches("--join 127.0.0.1:").count() == 3, "{added}");

    let backup = sandbox.dir().join("backup");
    kumactl.ok(&["backup", "create", &backup.display().to_string()], "").await?;
    let before = group.get(1)?.control_plane.get("/raft").await?["revision"].as_u64();
    group.get(1)?.control_plane.apply(&mesh("third")).await?;
    group.get(1)?.control_plane.delete("/meshes/second").await?;
    let restored = kumactl.ok(&["backup", "restore", &backup.display().to_string()], "").await?;
    ensure!(restored.contains(" created"), "{restored}");
    for (_, replica) in group.iter() {
        replica.control_plane.until("/meshes/second", SOON, |_| true).await?;
        let meshes = replica.control_plane.until("/meshes", SOON, |meshes| meshes["total"] == 3).await?;
        ensure!(!meshes.to_string().contains("third"), "{meshes}");
    }
    ensure!(group.get(1)?.control_plane.get("/raft").await?["revision"].as_u64() > before);
    restore(sandbox, &backup, "restored").await?;
    let restored = ControlPlane::start(sandbox, "restored", ControlPlaneSettings::default()).await?;
    for name in ["first", "second"] {
        restored.get(&format!("/meshes/{name}")).await?;
    }
    ensure!(voters(&restored.get("/raft").await?) == 1);
    Ok(())
}

/// Peers with one configuration but for the address, the way a StatefulSet or a list of machines is
/// set up.
struct Peers {
    sandbox: Sandbox,
    list: String,
    addresses: Vec<String>,
}

impl Peers {
    async fn new() -> Result<Self> {
        let sandbox = Sandbox::new().await?;
        std::fs::write(sandbox.dir().join("secret"), "correct horse battery staple")?;
        let ports: [u16; 3] = free_ports()?;
        let addresses: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Ok(Self { sandbox, list: addresses.join(","), addresses })
    }

    async fn start(&self, n: usize) -> Result<ControlPlane> {
        let variables = vec![
            ("KUMA_STORE_RAFT_LISTEN", self.addresses[n].clone()),
            ("KUMA_STORE_RAFT_PEERS", self.list.clone()),
            ("KUMA_STORE_RAFT_SECRET_FILE", self.sandbox.dir().join("secret").display().to_string()),
        ];
        ControlPlane::start(&self.sandbox, &format!("peer-{n}"), ControlPlaneSettings { variables }).await
    }
}

#[tokio::test]
async fn peers_with_one_configuration_found_a_group_and_replace_a_lost_disk() -> Result<()> {
    let peers = Peers::new().await?;
    let (third, first, second) = tokio::try_join!(peers.start(2), peers.start(0), peers.start(1))?;
    let mut replicas = [first, second, third];
    let three_vote =
        |status: &Value| voters(status) == 3 && status["replicas"].as_array().is_some_and(|r| r.len() == 3);
    for replica in &replicas {
        replica.until("/raft", SOON, three_vote).await?;
    }
    replicas[2].apply(&mesh("first")).await?;
    let lost = replicas[0].get("/raft").await?["id"].as_u64();

    replicas[0].process().kill().await?;
    std::fs::remove_dir_all(peers.sandbox.dir().join("peer-0/data"))?;
    replicas[0].start_again().await?;
    for replica in &replicas {
        let is_without_lost = |status: &Value| {
            let replicas = status["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
            three_vote(status) && replicas.iter().all(|replica| replica["id"].as_u64() != lost)
        };
        replica.until("/raft", SOON, is_without_lost).await?;
        replica.until("/meshes/first", SOON, |_| true).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_leader_that_is_told_to_stop_hands_over_first() -> Result<()> {
    let sandbox = Sandbox::new().await?;
    let mut group = Replicas::of_three(&sandbox, &[]).await?;
    let (leader, followers) = (group.leader().await?, group.followers().await?);
    let stopped = group.at(leader)?.control_plane.process();
    ensure!(stopped.stop().await?.success());
    // On a machine that is too slow for it nobody takes it in time, which it says as well.
    let (log, tail) = (stopped.log(), stopped.log_tail());
    ensure!(log.contains("over the leadership") || log.contains("nobody took the leadership"), "{tail}");
    for follower in &followers {
        let others: Vec<_> = followers.iter().filter_map(|place| group.get(*place).ok()).map(|one| one.id).collect();
        let led = |status: &Value| status["leader"].as_u64().is_some_and(|leader| others.contains(&leader));
        group.get(*follower)?.control_plane.until("/raft", SOON, led).await?;
    }
    group.get(followers[0])?.control_plane.apply(&mesh("after")).await?;
    Ok(())
}

#[tokio::test]
async fn a_removed_control_plane_ends_and_says_why() -> Result<()> {
    let sandbox = Sandbox::new().await?;
    let mut group = Replicas::of_three(&sandbox, &[]).await?;
    let follower = group.followers().await?[0];
    let mut removed = group.take(follower)?;
    let kumactl = Kumactl { binary: sandbox.bin("kumactl"), config: sandbox.dir().join("kumactl-config") };
    let left = &group.get(group.leader().await?)?.control_plane;
    kumactl.ok(&["config", "control-planes", "add", "--name=group", "--address", &left.api()], "").await?;
    kumactl.ok(&["raft", "remove", &removed.id.to_string()], "").await?;
    let process = removed.control_plane.process();
    ensure!(process.ended(SOON).await?.code() == Some(2));
    ensure!(process.log().contains("was removed from its group"), "{}", process.log_tail());
    left.apply(&mesh("after")).await?;
    Ok(())
}
