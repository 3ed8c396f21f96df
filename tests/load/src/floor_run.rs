//! The same streams and the same bytes, from a server that does nothing else.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sandbox::Sandbox;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};

use crate::fleet::Fleet;
use crate::measure::{Goal, percentiles};
use crate::plan::{LIMIT, Plan};
use crate::proxy::Identity;
use crate::target::MESH;
use crate::tls::Dialer;
use crate::usage::Usage;

/// What the control plane sent for each change, in bytes a proxy.
pub(crate) type Sizes = Vec<(&'static str, u64)>;

/// Pushes as many bytes as each change had, `rounds` times; beside that, a storm of connections that
/// each get `connect_bytes`.
pub(crate) async fn floor(plan: &Plan, sandbox: &Sandbox, connect_bytes: u64, sizes: &Sizes) -> Result<Value> {
    let (mut server, dialer) = start(sandbox)?;
    let pid = server.id().context("the floor has ended")?;
    let mut commands = server.stdin.take().context("no input")?;
    let mut fleet = Fleet::new(dialer);
    let mut results = Map::new();

    say(&mut commands, "greet", connect_bytes).await?;
    // A command is read before the connections that come after the next one.
    say(&mut commands, "push", 1).await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    fleet.board.begin(Goal::Anything, plan.proxies);
    let began = Instant::now();
    for number in 0..plan.proxies {
        fleet.add(Identity {
            mesh: MESH.into(),
            name: format!("proxy-{number}"),
            token: "none".into(),
            resource: String::new(),
            secrets: Vec::new().into(),
        });
    }
    fleet.board.until_reached(LIMIT).await.context("not all proxies reached the floor")?;
    results.insert("connect_storm_s".to_owned(), json!(began.elapsed().as_secs_f64()));

    for (name, len) in sizes {
        fleet.board.quiet().await;
        let mut last = Vec::new();
        let used = Usage::of(pid)?;
        for _ in 0..plan.rounds {
            fleet.board.begin(Goal::Anything, plan.proxies);
            say(&mut commands, "push", *len).await?;
            last.push(fleet.board.until_reached(LIMIT).await?.last);
            fleet.board.quiet().await;
        }
        let cpu_s = Usage::of(pid)?.cpu_s_since(used);
        results.insert(
            (*name).to_owned(),
            json!({
                "bytes_per_proxy": len,
                "last_ack_ms": percentiles(&mut last),
                "cpu_ms_per_round": (cpu_s * 1e6 / plan.rounds.max(1) as f64).round() / 1e3,
            }),
        );
    }
    fleet.disconnect().await;
    Ok(Value::Object(results))
}

fn start(sandbox: &Sandbox) -> Result<(Child, Dialer)> {
    let port = sandbox::free_port()?;
    let dir = sandbox.dir().join("kuma-cp");
    let certificate = dir.join("kuma-cp.crt");
    let server = tokio::process::Command::new(std::env::current_exe()?)
        .arg("floor")
        .arg(format!("--port={port}"))
        .arg(format!("--certificate={}", certificate.display()))
        .arg(format!("--key={}", dir.join("kuma-cp.key").display()))
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("could not start the floor")?;
    Ok((server, Dialer::new(&std::fs::read_to_string(certificate)?, port)?))
}

async fn say(commands: &mut ChildStdin, what: &str, len: u64) -> Result<()> {
    commands.write_all(format!("{what} {len}\n").as_bytes()).await.context("the floor has ended")
}

/// How often what took `ours` takes what the floor took, at a percentile of the last answer.
pub(crate) fn ratio(ours: &Value, floor: &Value, percentile: &str) -> Option<f64> {
    let of = |value: &Value| value.get("last_ack_ms")?.get(percentile)?.as_f64();
    let ratio = of(ours)? / of(floor)?;
    ratio.is_finite().then_some((ratio * 100.0).round() / 100.0)
}
