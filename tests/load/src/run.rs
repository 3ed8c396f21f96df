//! All scenarios, one after the other.

use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result};
use sandbox::Sandbox;
use serde_json::{Map, Value, json};

use crate::changes::{Change, ENDPOINT_MOVES, POLICY_ALL, POLICY_ONE, POLICY_OUTBOUNDS};
use crate::churn::churn;
use crate::fleet::Fleet;
use crate::floor_run::{Sizes, floor, ratio};
use crate::measure::{Goal, ms, percentiles};
use crate::plan::{LIMIT, Plan, Scenario};
use crate::proxy::SECRET;
use crate::rounds::{rounds, service};
use crate::storm::storm_change;
use crate::target::{MESH, Target};
use crate::usage::Usage;

/// How many writers register dataplanes at once.
const WRITERS: usize = 32;

/// A run: what is measured, and what was found.
struct Run {
    plan: Plan,
    target: Target,
    fleet: Fleet,
    results: Map<String, Value>,
    sizes: Sizes,
    connect_bytes: u64,
}

/// Runs the wanted scenarios and prints the results.
pub(crate) async fn run(plan: Plan) -> Result<()> {
    let files = plan.raise_file_limit()?;
    let sandbox = Sandbox::of_control_planes()?;
    let target = Target::start(&sandbox, plan.services).await?;
    eprintln!("the control plane is process {}", target.pid);
    let fleet = Fleet::new(target.dialer.clone());
    let mut run = Run { plan, target, fleet, results: Map::new(), sizes: Vec::new(), connect_bytes: 0 };
    run.note("plan", json!(format!("{:?}", run.plan)));
    run.note("open_files", files);
    run.note("start_ms", json!(ms(run.target.started_in)));
    run.note("idle_rss_mib", json!(Usage::of(run.target.pid)?.rss_kib / 1024));
    if run.plan.has(Scenario::Register) {
        run.register().await?;
    }
    run.connect().await?;
    run.changes().await?;
    run.storms().await?;
    run.note("end", Usage::of(run.target.pid)?.since(Usage { rss_kib: 0, cpu: std::time::Duration::ZERO }));
    run.fleet.disconnect().await;
    run.target.control_plane.process().stop().await?;
    if run.plan.has(Scenario::Floor) {
        let floor = floor(&run.plan, &sandbox, run.connect_bytes, &run.sizes).await?;
        run.compare(floor);
    }
    println!("{}", serde_json::to_string_pretty(&Value::Object(run.results))?);
    Ok(())
}

impl Run {
    fn note(&mut self, name: &str, value: Value) {
        eprintln!("{name}: {value}");
        self.results.insert(name.to_owned(), value);
    }

    /// Dataplanes over the API, by several writers; they are deleted again.
    async fn register(&mut self) -> Result<()> {
        let (target, count) = (&self.target, self.plan.proxies);
        let used = Usage::of(target.pid)?;
        let began = Instant::now();
        let write = async |first: usize| {
            let mut took = Vec::new();
            for number in (first..count).step_by(WRITERS) {
                let began = Instant::now();
                target.control_plane.apply(&target.registered(number)).await?;
                took.push(began.elapsed());
            }
            anyhow::Ok(took)
        };
        let took = futures::future::try_join_all((0..WRITERS).map(write)).await?;
        let seconds = began.elapsed().as_secs_f64();
        let mut took: Vec<_> = took.into_iter().flatten().collect();
        let used = Usage::of(target.pid)?.since(used);
        let delete = async |first: usize| {
            for number in (first..count).step_by(WRITERS) {
                target.control_plane.delete(&format!("/meshes/{MESH}/dataplanes/registered-{number}")).await?;
            }
            anyhow::Ok(())
        };
        futures::future::try_join_all((0..WRITERS).map(delete)).await?;
        let results = json!({
            "dataplanes": count, "writers": WRITERS, "per_second": (count as f64 / seconds).round(),
            "write_ms": percentiles(&mut took), "used": used,
        });
        self.note("register", results);
        Ok(())
    }

    /// All proxies at once.
    async fn connect(&mut self) -> Result<()> {
        let before = Usage::of(self.target.pid)?;
        let began = Instant::now();
        for number in 0..self.plan.proxies {
            self.fleet.add(self.target.proxy(number, self.plan.reachable));
        }
        self.fleet.until_configured(self.plan.proxies).await.context("connect storm")?;
        let seconds = began.elapsed().as_secs_f64();
        self.fleet.board.quiet().await;
        self.connect_bytes = self.fleet.bytes_per_proxy_since(0);
        let after = Usage::of(self.target.pid)?;
        let kib = after.rss_kib.saturating_sub(before.rss_kib) as f64 / self.plan.proxies as f64;
        let results = json!({
            "seconds": seconds, "bytes_per_proxy": self.connect_bytes,
            "memory_kib_per_proxy": (kib * 10.0).round() / 10.0, "used": after.since(before),
        });
        self.note("connect_storm", results);
        Ok(())
    }

    async fn changes(&mut self) -> Result<()> {
        let (all, few) = (self.plan.proxies, self.plan.proxies / self.plan.services);
        if self.plan.has(Scenario::Idle) {
            let used = Usage::of(self.target.pid)?;
            tokio::time::sleep(std::time::Duration::from_secs(self.plan.seconds)).await;
            let cpu_s = Usage::of(self.target.pid)?.cpu_s_since(used);
            self.note("idle", json!({"cpu_percent_of_a_core": cpu_s * 100.0 / self.plan.seconds as f64}));
        }
        let wanted: [(_, &'static str, Change, usize); 4] = [
            (Scenario::PolicyAll, "policy_all", POLICY_ALL, all),
            (Scenario::PolicyOutbounds, "policy_outbounds", POLICY_OUTBOUNDS, all),
            (Scenario::Endpoint, "endpoint", ENDPOINT_MOVES, all),
            (Scenario::PolicyOne, "policy_one", POLICY_ONE, few),
        ];
        for (scenario, name, change, concerned) in wanted {
            if self.plan.has(scenario) {
                let (summary, bytes) =
                    rounds(&self.target, &self.fleet.board, change, concerned, self.plan.rounds).await.context(name)?;
                if concerned == all {
                    self.sizes.push((name, bytes));
                }
                self.note(name, summary);
            }
        }
        if self.plan.has(Scenario::Service) {
            let (added, removed, bytes) =
                service(&self.target, &self.fleet.board, all, self.plan.rounds).await.context("service")?;
            self.sizes.push(("service_added", bytes));
            self.note("service_added", added);
            self.note("service_removed", removed);
        }
        if self.plan.has(Scenario::Flatness) {
            self.flatness().await?;
        }
        Ok(())
    }

    /// The same change among few and among many services that nobody reaches.
    async fn flatness(&mut self) -> Result<()> {
        let mut found = Map::new();
        for unrelated in [1, self.plan.unrelated] {
            for number in 0..unrelated {
                self.target.control_plane.apply(&self.target.unrelated(number)).await?;
            }
            self.fleet.board.quiet().await;
            let (board, all) = (&self.fleet.board, self.plan.proxies);
            let (summary, _) = rounds(&self.target, board, ENDPOINT_MOVES, all, self.plan.rounds).await?;
            found.insert(format!("endpoint_among_{unrelated}"), summary);
        }
        self.note("flatness", Value::Object(found));
        Ok(())
    }

    async fn storms(&mut self) -> Result<()> {
        if self.plan.has(Scenario::Churn) {
            let churned = churn(&self.target, &mut self.fleet, &self.plan).await.context("churn")?;
            self.note("churn", churned);
        }
        if self.plan.has(Scenario::StormChange) {
            let stormed = storm_change(&self.target, &self.fleet, &self.plan).await.context("storm-change")?;
            self.note("storm_change", stormed);
        }
        if self.plan.has(Scenario::Rotation) {
            self.rotate().await.context("rotation")?;
        }
        if self.plan.has(Scenario::Reconnect) {
            self.reconnect().await.context("reconnect")?;
        }
        Ok(())
    }

    /// The authority is deleted; the control plane makes another, and a certificate for everybody.
    async fn rotate(&mut self) -> Result<()> {
        let (board, all) = (&self.fleet.board, self.plan.proxies);
        let used = Usage::of(self.target.pid)?;
        let before = board.bytes.load(Ordering::SeqCst);
        board.begin(Goal::Resource(SECRET, "_identity_".to_owned()), all);
        for path in self.target.authority_paths() {
            self.target.control_plane.delete(&path).await?;
        }
        let spread = board.until_reached(LIMIT).await?;
        board.quiet().await;
        let results = json!({
            "first_ack_ms": ms(spread.first), "last_ack_ms": ms(spread.last),
            "bytes_per_proxy": (board.bytes.load(Ordering::SeqCst) - before) / all as u64,
            "used": Usage::of(self.target.pid)?.since(used),
        });
        self.note("rotation", results);
        Ok(())
    }

    /// The control plane restarts under its proxies.
    async fn reconnect(&mut self) -> Result<()> {
        let before =
            (self.fleet.board.bytes.load(Ordering::SeqCst), self.fleet.board.repeated_bytes.load(Ordering::SeqCst));
        self.fleet.board.resumed.store(0, Ordering::SeqCst);
        let ready = self.target.restart().await?;
        let began = Instant::now();
        let board = &self.fleet.board;
        board.until(&board.resumed, self.plan.proxies, LIMIT).await?;
        let seconds = began.elapsed().as_secs_f64() + ready.as_secs_f64();
        board.quiet().await;
        let per_proxy = |bytes: u64| bytes / self.plan.proxies as u64;
        let results = json!({
            "ready_ms": ms(ready), "all_resumed_s": seconds,
            "bytes_per_proxy": per_proxy(board.bytes.load(Ordering::SeqCst) - before.0),
            "unchanged_bytes_per_proxy": per_proxy(board.repeated_bytes.load(Ordering::SeqCst) - before.1),
            "used": Usage::of(self.target.pid)?.since(Usage { rss_kib: 0, cpu: std::time::Duration::ZERO }),
        });
        self.note("reconnect", results);
        Ok(())
    }

    /// Puts the ratio to the floor beside each figure that has one.
    fn compare(&mut self, floor: Value) {
        for (name, _) in &self.sizes {
            let (Some(ours), Some(floor)) = (self.results.get_mut(*name), floor.get(*name)) else { continue };
            let ratios = json!({"p50": ratio(ours, floor, "p50"), "p99": ratio(ours, floor, "p99")});
            eprintln!("{name} to floor: {ratios}");
            ours["ratio_to_floor"] = ratios;
        }
        let storm = |value: Option<&Value>, name: &str| value.and_then(|v| v.get(name)?.as_f64());
        let ratio = storm(self.results.get("connect_storm"), "seconds")
            .zip(storm(Some(&floor), "connect_storm_s"))
            .map(|(ours, floor)| (ours / floor * 100.0).round() / 100.0);
        if let Some(storm) = self.results.get_mut("connect_storm") {
            storm["ratio_to_floor"] = json!(ratio);
        }
        self.note("floor", floor);
    }
}
