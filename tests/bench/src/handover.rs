//! How long nobody takes writes when the leader is killed, or hands over.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use sandbox::{ControlPlane, ControlPlaneSettings, Sandbox, free_ports};
use serde_json::{Value, json};

use crate::statistics::percentiles;

/// How long the group may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// How often
    #[arg(long, default_value_t = 50)]
    times: usize,
}

/// How a leader ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With `SIGKILL`.
    Killed,
    /// By order.
    HandedOver,
}

struct Group {
    _sandbox: Sandbox,
    replicas: Vec<(ControlPlane, u64)>,
    http: reqwest::Client,
}

pub(crate) async fn run(flags: &Flags, end: End) -> Result<Value> {
    let mut group = Group::of_three().await?;
    let mut samples = Vec::new();
    for n in 0..flags.times {
        let leader = group.leader().await?;
        let asked = (leader + 1 + n % 2) % group.replicas.len();
        // Its connections are warm, as a client's are.
        group.write(asked, n).await?;
        let start = Instant::now();
        match end {
            End::Killed => drop(group.replicas[leader].0.process().kill().await?),
            End::HandedOver => group.hand_over(asked).await?,
        }
        while group.write(asked, n).await.is_err() {
            ensure!(start.elapsed() < PATIENCE, "no write within {PATIENCE:?}");
        }
        samples.push(start.elapsed());
        if end == End::Killed {
            group.replicas[leader].0.start_again().await?;
        }
        group.whole().await?;
    }
    Ok(json!({
        "method": "three kuma-cp on one machine; the next write through a follower's REST API, tried again at once when refused",
        "until_the_next_write": percentiles(samples),
    }))
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
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let group = Self { _sandbox: sandbox, replicas, http };
        group.whole().await?;
        Ok(group)
    }

    /// Waits until all vote, know the leader, and have what it has.
    async fn whole(&self) -> Result<()> {
        let leader = self.leader().await?;
        let revision = self.replicas[leader].0.get("/raft").await?["revision"].as_u64();
        for (replica, _) in &self.replicas {
            let is_whole = |status: &Value| {
                let all = status["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
                all.iter().filter(|one| one["role"] != "learner").count() == 3
                    && status["leader"].is_u64()
                    && status["revision"].as_u64() >= revision
            };
            replica.until("/raft", PATIENCE, is_whole).await?;
        }
        Ok(())
    }

    async fn leader(&self) -> Result<usize> {
        let start = Instant::now();
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        loop {
            looks.tick().await;
            for (at, (replica, _)) in self.replicas.iter().enumerate() {
                if replica.get("/raft").await.is_ok_and(|status| status["role"] == "leader") {
                    return Ok(at);
                }
            }
            ensure!(start.elapsed() < PATIENCE, "nobody leads");
        }
    }

    async fn write(&self, at: usize, value: usize) -> Result<()> {
        let api = self.replicas[at].0.api();
        let secret = json!({"type": "GlobalSecret", "name": "bench", "data": format!("{value:04}")});
        let request = self.http.put(format!("{api}/global-secrets/bench")).json(&secret);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    async fn hand_over(&self, to: usize) -> Result<()> {
        let (replica, id) = &self.replicas[to];
        let request = self.http.post(format!("{}/raft/handover", replica.api())).json(&json!({ "id": id }));
        request.send().await?.error_for_status()?;
        Ok(())
    }
}
