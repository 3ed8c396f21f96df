//! Proxies of three control planes behind one address: where they are when one dies and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use sandbox::{ControlPlane, Door, Outbound, Place, Proxy, ProxySettings, Replicas, Sandbox, Workload};
use serde_json::{Value, json};

use crate::kumactl::Kumactl;
use crate::restart::{call_until, until_more};
use crate::world::{SOON, allow_all, identity};

/// A replica came back: it has none, three each are elsewhere.
const PROXIES: u64 = 6;

/// Three control planes behind a door, a backend, and clients of it.
struct Crowd {
    sandbox: Sandbox,
    replicas: Replicas,
    proxies: Vec<Proxy>,
    _door: Door,
    _workload: Workload,
}

impl Crowd {
    async fn start() -> Result<Self> {
        let sandbox = Sandbox::new().await?;
        let door = Door::open().await?;
        let mut variables = door.variables();
        variables.push(("KUMA_XDS_SERVER_VERIFY_VIEWS", "true".to_owned()));
        let mut replicas = Replicas::of_three(&sandbox, &variables).await?;
        door.lead_to(replicas.iter().map(|(_, replica)| replica.control_plane.dp_port()).collect());
        let founder = &mut replicas.at(0)?.control_plane;
        founder.behind(door.port());
        let founder = &*founder;
        founder.apply(&identity("24h")).await?;
        founder.apply(&allow_all()).await?;
        let workload = Workload::start("backend").await?;
        let backend = ProxySettings::service("default", "backend-1", "backend", workload.port());
        let backend = Proxy::start(&sandbox, founder, &backend).await?;
        let port = backend.inbound_port();
        let clients = (1..PROXIES).map(|n| {
            let settings = ProxySettings {
                workload_port: None,
                outbounds: vec![Outbound { kind: "MeshService", name: "backend".to_owned(), port }],
                ..ProxySettings::service("default", &format!("client-{n}"), "client", 0)
            };
            let sandbox = &sandbox;
            async move { Proxy::start(sandbox, founder, &settings).await }
        });
        let mut proxies = try_join_all(clients).await?;
        for client in &proxies {
            client.call_until(SOON, |status, _| status == 200).await.context("the client is not let in")?;
        }
        proxies.push(backend);
        Ok(Self { sandbox, replicas, proxies, _door: door, _workload: workload })
    }

    /// Waits until the numbers of proxies at all replicas that answer are as wanted.
    async fn until(&self, asked: usize, wanted: impl Fn(&[u64]) -> bool) -> Result<Vec<u64>> {
        let control_plane = &self.replicas.get(asked)?.control_plane;
        let vitals = control_plane.until("/raft/vitals", SOON, |vitals| wanted(&numbers(vitals))).await?;
        Ok(numbers(&vitals))
    }

    /// Bytes of clusters, endpoint sets and listeners that replicas have sent since they were started.
    async fn sent(&self, places: &[Place]) -> Result<f64> {
        let mut sent = 0.0;
        for place in places {
            let control_plane = &self.replicas.get(*place)?.control_plane;
            for ty in ["Cluster", "ClusterLoadAssignment", "Listener"] {
                let label = format!("v3.{ty}\"");
                sent += control_plane.metric("xds_responses_sent_bytes", &label).await?;
            }
        }
        Ok(sent)
    }
}

impl Crowd {
    /// The newest revision of a replica.
    async fn revision(&self, at: Place) -> Result<String> {
        Ok(self.replicas.get(at)?.control_plane.get("/raft").await?["revision"].to_string())
    }

    /// All proxies of those that are there have everything; of the one that is away nothing is known.
    async fn unknown_while_one_is_away(&self, kumactl: &Kumactl) -> Result<()> {
        let have_all = |told: &Value| told["acknowledged"] == PROXIES && told["pending"] == json!([]);
        let told = self.replicas.get(1)?.control_plane.until("/propagation", SOON, have_all).await?;
        ensure!(told["complete"] == false && told["replicas"] == 2, "{told}");
        ensure!(told["unknown"][0]["id"] == self.replicas.get(2)?.id, "{told}");
        let waits = ["wait", "--revision", &self.revision(1).await?, "--timeout=1s"];
        let (code, _, said) = kumactl.run(&waits, "").await?;
        ensure!(code == Some(3) && said.contains("it is not known who has revision"), "{code:?} {said}");
        Ok(())
    }
}

/// How many proxies each replica has that answers, by its id.
fn numbers(vitals: &Value) -> Vec<u64> {
    let items = vitals["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|replica| replica["proxies"].as_u64()).collect()
}

/// Waits until nobody misses anything.
async fn settled(control_plane: &ControlPlane) -> Result<()> {
    control_plane.until("/propagation?wait=10s", SOON, |answer| answer["complete"] == true).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_a_dead_replica_go_on_elsewhere_and_spread_again_when_it_is_back() -> Result<()> {
    let mut crowd = Crowd::start().await?;
    let all = |numbers: &[u64]| numbers.iter().sum::<u64>() == PROXIES;
    let even = |numbers: &[u64]| numbers.iter().max() <= numbers.iter().min().map(|fewest| fewest + 2).as_ref();
    let before = crowd.until(0, |numbers| all(numbers) && even(numbers) && numbers.len() == 3).await?;
    settled(&crowd.replicas.get(1)?.control_plane).await?;
    let sent = crowd.sent(&[0, 1]).await?;
    let sent_to_some = crowd.sent(&[2]).await?;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let port = crowd.proxies[0].outbound_port(0).context("a client has an outbound")?;
    let calls = tokio::spawn(call_until(port, Arc::clone(&stop), Arc::clone(&answered)));
    until_more(&answered, 20).await;

    crowd.replicas.at(2)?.control_plane.process().kill().await?;
    let without = crowd.until(0, |numbers| numbers.len() == 2 && all(numbers)).await?;
    let kumactl = Kumactl::of(&crowd.sandbox, &crowd.replicas.get(1)?.control_plane).await?;
    crowd.unknown_while_one_is_away(&kumactl).await?;
    let (again, first) = (crowd.sent(&[0, 1]).await? - sent, sent_to_some);
    println!("those that moved were sent {first} bytes when they first came, {again} when they came back");
    ensure!(again < first / 10.0, "something unchanged was sent again: {again} bytes, at first {first}");

    crowd.replicas.at(2)?.control_plane.start_again().await?;
    let after = crowd.until(0, |numbers| numbers.len() == 3 && all(numbers) && even(numbers)).await?;
    println!("proxies at each replica: {before:?}, without one {without:?}, with it again {after:?}");

    // What is sent from now on reaches all, wherever they are.
    let only_others = crate::world::allow("Exact", "spiffe://default.default.mesh.local/workload/other");
    until_more(&answered, 20).await;
    stop.store(true, Ordering::Release);
    let failed = calls.await?;
    ensure!(failed.is_empty(), "of {} calls these failed: {failed:?}", answered.load(Ordering::Acquire));
    let revision = crowd.replicas.get(2)?.control_plane.write(&only_others).await?;
    let everywhere = kumactl.ok(&["wait", "--revision", &revision, "--timeout=60s"], "").await?;
    ensure!(everywhere.contains("has reached"), "{everywhere}");
    let told = crowd.replicas.get(0)?.control_plane.get("/propagation").await?;
    ensure!(told["complete"] == true && told["concerned"] == PROXIES && told["replicas"] == 3, "{told}");
    for client in &crowd.proxies[..crowd.proxies.len() - 1] {
        client.call_until(SOON, |status, _| status == 403).await?;
    }
    for (place, replica) in crowd.replicas.iter() {
        let differences = replica.control_plane.metric("xds_verify_differences_total", "").await?;
        ensure!(differences == 0.0, "replica {place}: {differences} differences");
    }
    drop(crowd.sandbox);
    Ok(())
}
