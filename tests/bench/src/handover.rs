//! How long nobody takes writes when the leader is killed, or hands over.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use sandbox::{Place, Replicas, Sandbox};
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
    replicas: Replicas,
    http: reqwest::Client,
}

pub(crate) async fn run(flags: &Flags, end: End) -> Result<Value> {
    let mut group = Group::of_three().await?;
    let mut samples = Vec::new();
    for n in 0..flags.times {
        let leader = group.replicas.leader().await?;
        let followers = group.replicas.followers().await?;
        let asked = followers[n % followers.len()];
        // Its connections are warm, as a client's are.
        group.write(asked, n).await?;
        let start = Instant::now();
        match end {
            End::Killed => drop(group.replicas.at(leader)?.control_plane.process().kill().await?),
            End::HandedOver => group.hand_over(asked).await?,
        }
        while group.write(asked, n).await.is_err() {
            ensure!(start.elapsed() < PATIENCE, "no write within {PATIENCE:?}");
        }
        samples.push(start.elapsed());
        if end == End::Killed {
            group.replicas.at(leader)?.control_plane.start_again().await?;
        }
        group.replicas.until_whole().await?;
    }
    Ok(json!({
        "method": "three kuma-cp on one machine; the next write through a follower's REST API, tried again at once when refused",
        "until_the_next_write": percentiles(samples),
    }))
}

impl Group {
    async fn of_three() -> Result<Self> {
        let sandbox = Sandbox::new().await?;
        let replicas = Replicas::of_three(&sandbox, &[]).await?;
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        Ok(Self { _sandbox: sandbox, replicas, http })
    }

    async fn write(&self, at: Place, value: usize) -> Result<()> {
        let api = self.replicas.get(at)?.control_plane.api();
        let secret = json!({"type": "GlobalSecret", "name": "bench", "data": format!("{value:04}")});
        let request = self.http.put(format!("{api}/global-secrets/bench")).json(&secret);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    async fn hand_over(&self, to: Place) -> Result<()> {
        let replica = self.replicas.get(to)?;
        let url = format!("{}/raft/handover", replica.control_plane.api());
        let request = self.http.post(url).json(&json!({ "id": replica.id }));
        request.send().await?.error_for_status()?;
        Ok(())
    }
}
