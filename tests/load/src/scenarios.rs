//! What is done to a control plane, and what that took.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sandbox::Sandbox;
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::measure::{Board, SharedBoard, Spread, percentile_ms, usage};
use crate::proxy::{Identity, Memory, converse};
use crate::target::{MESH, Target, address, dataplane, workload};
use crate::tls::Dialer;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(180);

/// What to run.
#[derive(Clone, Debug, Args)]
pub(crate) struct Plan {
    /// How many proxies connect.
    #[arg(long, default_value_t = 1000)]
    proxies: usize,
    /// How many services there are; proxies are spread over them.
    #[arg(long, default_value_t = 100)]
    services: usize,
    /// How many services each proxy can reach; all when absent.
    #[arg(long)]
    reachable: Option<usize>,
    /// Rounds of each change.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// For how many seconds nothing is done.
    #[arg(long, default_value_t = 10)]
    idle_s: u64,
}

/// Runs all scenarios and prints the results.
pub(crate) async fn run(plan: Plan) -> Result<()> {
    raise_file_limit(plan.proxies)?;
    let sandbox = Sandbox::new().await?;
    let mut results = Map::new();
    let mut target = Target::start(&sandbox, plan.services).await?;
    results.insert("start_ms".to_owned(), ms(target.started_in));
    let pid = target.control_plane.process().id().context("the control plane has ended")?;
    let before = usage(pid)?;
    results.insert("idle_rss_mib".to_owned(), json!(before.rss_kib / 1024));

    let board = SharedBoard::default();
    let mut proxies = JoinSet::new();
    let began = Instant::now();
    connect(&plan, &target, &board, &mut proxies);
    board.until_configured(plan.proxies, LIMIT).await.context("connect storm")?;
    results.insert("connect_storm_s".to_owned(), json!(began.elapsed().as_secs_f64()));
    board.quiet().await;
    results.insert("connect_bytes_per_proxy".to_owned(), per_proxy(&board, plan.proxies));
    let after = usage(pid)?;
    let grown = after.rss_kib.saturating_sub(before.rss_kib);
    results.insert("memory_per_proxy_kib".to_owned(), json!(grown as f64 / plan.proxies as f64));
    eprintln!("connected: {}", Value::Object(results.clone()));

    results.insert("idle".to_owned(), idle(pid, plan.idle_s).await?);
    let (policy, policy_bytes) = change(&plan, &target, &board, plan.proxies, policy).await?;
    results.insert("policy_change_all".to_owned(), policy);
    let (endpoint, endpoint_bytes) = change(&plan, &target, &board, plan.proxies, endpoint).await?;
    results.insert("endpoint_change".to_owned(), endpoint);
    let few = plan.proxies / plan.services;
    let (one, _) = change(&plan, &target, &board, few, policy_on_one).await?;
    results.insert("policy_change_one_service".to_owned(), one);
    results.insert("reconnect".to_owned(), reconnect(&plan, &mut target, &board).await?);
    eprintln!("measured: {}", Value::Object(results.clone()));
    proxies.shutdown().await;
    target.control_plane.process().stop().await?;

    results.insert("floor".to_owned(), floor(&plan, &sandbox, [policy_bytes, endpoint_bytes]).await?);
    println!("{}", serde_json::to_string_pretty(&Value::Object(results))?);
    Ok(())
}

/// One descriptor a proxy here and in the control plane, which inherits the limit.
fn raise_file_limit(proxies: usize) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = u64::try_from(proxies)? * 2 + 1024;
    anyhow::ensure!(hard >= wanted, "the limit of open files is {hard}, {wanted} are needed: raise `ulimit -n`");
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    }
    Ok(())
}

fn ms(duration: Duration) -> Value {
    json!((duration.as_secs_f64() * 10_000.0).round() / 10.0)
}

fn per_proxy(board: &Board, proxies: usize) -> Value {
    json!(board.bytes.load(Ordering::SeqCst) / proxies as u64)
}

fn connect(plan: &Plan, target: &Target, board: &SharedBoard, proxies: &mut JoinSet<()>) {
    for number in 0..plan.proxies {
        let identity = target.proxy(number, plan.reachable);
        proxies.spawn(live(target.dialer.clone(), identity, Arc::clone(board)));
    }
}

/// A proxy that connects again whenever its stream ends.
async fn live(dialer: Dialer, identity: Identity, board: SharedBoard) {
    let mut memory = Memory::default();
    loop {
        if let Err(error) = converse(&dialer, &identity, &mut memory, &board).await
            && std::env::var_os("LOAD_VERBOSE").is_some()
        {
            eprintln!("{}: {error:#}", identity.name);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn idle(pid: u32, seconds: u64) -> Result<Value> {
    let before = usage(pid)?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let used = usage(pid)?.cpu.saturating_sub(before.cpu);
    Ok(json!({"cpu_percent_of_a_core": used.as_secs_f64() * 100.0 / seconds as f64}))
}

/// Makes a change `rounds` times; how it spread, and how many bytes a proxy got for it.
async fn change(
    plan: &Plan,
    target: &Target,
    board: &SharedBoard,
    concerned: usize,
    what: fn(usize) -> Value,
) -> Result<(Value, u64)> {
    let (mut first, mut last) = (Vec::new(), Vec::new());
    let (mut bytes, mut others) = (0, 0);
    // The first write creates what the others change.
    target.control_plane.apply(&what(0)).await?;
    board.quiet().await;
    for round in 1..=plan.rounds {
        let before = board.bytes.load(Ordering::SeqCst);
        board.begin();
        let resource = what(round);
        let (applied, spread) =
            tokio::join!(target.control_plane.apply(&resource), board.until_reached(concerned, LIMIT));
        applied?;
        let Spread { first: to_first, last: to_last } = spread?;
        first.push(to_first);
        last.push(to_last);
        board.quiet().await;
        others = others.max(board.reached().saturating_sub(concerned));
        bytes = (board.bytes.load(Ordering::SeqCst) - before) / concerned.max(1) as u64;
    }
    let summary = json!({
        "proxies": concerned,
        "others_reached": others,
        "bytes_per_proxy": bytes,
        "first_ack_ms_p50": percentile_ms(&mut first, 50),
        "last_ack_ms_p50": percentile_ms(&mut last, 50),
        "last_ack_ms_p99": percentile_ms(&mut last, 99),
    });
    Ok((summary, bytes))
}

/// A timeout for everybody.
fn policy(round: usize) -> Value {
    json!({
        "type": "MeshTimeout", "mesh": MESH, "name": "load-all",
        "spec": {"targetRef": {"kind": "Mesh"}, "rules": [{"default": {"http": {"requestTimeout": format!("{}s", 10 + round)}}}]},
    })
}

/// A timeout on the inbounds of one service.
fn policy_on_one(round: usize) -> Value {
    json!({
        "type": "MeshTimeout", "mesh": MESH, "name": "load-one",
        "spec": {
            "targetRef": {"kind": "Dataplane", "labels": {"kuma.io/workload": workload(3)}},
            "rules": [{"default": {"http": {"streamIdleTimeout": format!("{}s", 10 + round)}}}],
        },
    })
}

/// An endpoint of the first service that moves.
fn endpoint(round: usize) -> Value {
    dataplane("moving", 0, &address(200_000 + round), None)
}

/// Restarts the control plane under its proxies.
async fn reconnect(plan: &Plan, target: &mut Target, board: &SharedBoard) -> Result<Value> {
    let before = board.bytes.load(Ordering::SeqCst);
    target.control_plane.process().stop().await?;
    let began = Instant::now();
    target.control_plane.start_again().await?;
    let ready = began.elapsed();
    let connected = async {
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        loop {
            looks.tick().await;
            let vitals = target.control_plane.get(&format!("/meshes/{MESH}/dataplanes/_overview?size=1000")).await;
            let online = vitals.ok().as_ref().map_or(0, count_online);
            if online >= plan.proxies.min(1000) {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, connected).await.context("proxies did not come back")?;
    let took = began.elapsed();
    board.quiet().await;
    let bytes = board.bytes.load(Ordering::SeqCst) - before;
    Ok(json!({
        "ready_ms": ms(ready), "all_online_s": took.as_secs_f64(), "bytes_per_proxy": bytes / plan.proxies as u64,
    }))
}

fn count_online(overview: &Value) -> usize {
    let items = overview.get("items").and_then(Value::as_array);
    let online = |item: &&Value| {
        let subscriptions = item.pointer("/dataplaneInsight/subscriptions").and_then(Value::as_array);
        subscriptions.is_some_and(|all| all.iter().any(|s| s.get("disconnectTime").is_none()))
    };
    items.into_iter().flatten().filter(online).count()
}

/// The same streams and the same bytes, from a server that does nothing else.
async fn floor(plan: &Plan, sandbox: &Sandbox, sizes: [u64; 2]) -> Result<Value> {
    let port = sandbox::free_port()?;
    let dir = sandbox.dir().join("kuma-cp");
    let certificate = dir.join("kuma-cp.crt");
    let mut server = tokio::process::Command::new(std::env::current_exe()?)
        .arg("floor")
        .arg(format!("--port={port}"))
        .arg(format!("--certificate={}", certificate.display()))
        .arg(format!("--key={}", dir.join("kuma-cp.key").display()))
        .stdin(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("could not start the floor")?;
    let mut commands = server.stdin.take().context("no input")?;
    let dialer = Dialer::new(&std::fs::read_to_string(certificate)?, port)?;
    let board = SharedBoard::default();
    let mut proxies = JoinSet::new();
    for number in 0..plan.proxies {
        let identity = Identity {
            mesh: MESH.into(),
            name: format!("proxy-{number}"),
            token: "none".into(),
            resource: String::new(),
            secrets: Vec::new().into(),
        };
        proxies.spawn(live(dialer.clone(), identity, Arc::clone(&board)));
    }
    let mut results = Map::new();
    for (name, size) in ["policy_change_all", "endpoint_change"].into_iter().zip(sizes) {
        until_all_answer(&mut commands, &board, plan.proxies).await?;
        let mut last = Vec::new();
        for _ in 0..plan.rounds {
            board.begin();
            commands.write_all(format!("{size}\n").as_bytes()).await?;
            last.push(board.until_reached(plan.proxies, LIMIT).await?.last);
            board.quiet().await;
        }
        results.insert(
            name.to_owned(),
            json!({
                "bytes_per_proxy": size,
                "last_ack_ms_p50": percentile_ms(&mut last, 50),
                "last_ack_ms_p99": percentile_ms(&mut last, 99),
            }),
        );
    }
    Ok(Value::Object(results))
}

/// Pushes a byte until every stream is there to take it.
async fn until_all_answer(
    commands: &mut tokio::process::ChildStdin,
    board: &SharedBoard,
    proxies: usize,
) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < LIMIT {
        board.begin();
        commands.write_all(b"1\n").await?;
        if board.until_reached(proxies, Duration::from_secs(2)).await.is_ok() {
            board.quiet().await;
            return Ok(());
        }
    }
    anyhow::bail!("not all proxies reached the floor")
}
