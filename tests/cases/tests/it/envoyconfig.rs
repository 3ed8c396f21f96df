//! What whole proxies run: a zone with a mesh, its dataplanes and one policy at a time.

mod normal;
mod world;

use std::path::Path;

use cases::{Tally, family_dir};
use serde_json::{Value, json};

use crate::documents::{stems, text};
use world::{Fleet, World};

const SIDECARS_FLOOR: usize = 22;
const ZONE_PROXIES_FLOOR: usize = 30;

fn run(family: &str, fleet: &Fleet, floor: usize) {
    let Some(dir) = family_dir("envoyconfig") else { return };
    let dir = dir.join(family);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let world = runtime.block_on(World::new(fleet)).expect("a world");
    let mut tally = Tally::default();
    for policy in folders(&dir) {
        for (case, input) in stems(&policy, ".input.yaml") {
            // Kuma itself skips those that are named so.
            if case.starts_with('P') {
                continue;
            }
            let name = format!("{}/{case}", policy.file_name().unwrap_or_default().to_string_lossy());
            let outcome = runtime.block_on(world.with(&text(&input)));
            for (proxy, golden) in stems(&policy, ".golden.json") {
                let Some(proxy) = proxy.strip_prefix(&format!("{case}.")) else { continue };
                let outcome = match &outcome {
                    Ok(world) => runtime.block_on(holds(world, proxy, &golden)),
                    Err(error) => Err(format!("{error:#}")),
                };
                tally.record(&format!("{name} {proxy}"), outcome);
            }
        }
    }
    tally.finish(&format!("envoyconfig/{family}"), floor);
}

fn folders(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
    found.sort();
    found
}

async fn holds(world: &World, proxy: &str, golden: &Path) -> Result<(), String> {
    let actual = world.config(proxy).await.map_err(|e| format!("{e:#}"))?;
    let expected: Value = serde_json::from_str(&text(golden)).map_err(|e| e.to_string())?;
    let (actual, expected) = (normal::normal(&actual), normal::normal(&expected));
    if actual == expected {
        return Ok(());
    }
    let lines: Vec<_> =
        xds::json::diff(&expected, &actual).iter().map(|op| format!("{:?} {} {}", op.op, op.path, op.value)).collect();
    Err(format!("{} differences\n{}", lines.len(), lines.join("\n")))
}

fn sidecar(name: &'static str, inbound: Value, labels: Value) -> world::Proxy {
    let mut labels = labels;
    labels["kuma.io/workload"] = Value::from(name);
    labels["kuma.io/service"] = Value::from(name);
    let networking = json!({
        "inbound": [inbound],
        "transparentProxying": {"redirectPortInbound": 15006, "redirectPortOutbound": 15001},
    });
    world::Proxy { name, labels, networking, reuse_port: true }
}

fn client(name: &'static str) -> world::Proxy {
    sidecar(name, json!({"port": 3000}), json!({"team": "client-owners"}))
}

fn server(name: &'static str) -> world::Proxy {
    let labels = json!({"team": "server-owners", "version": "v1", "instance": "1"});
    sidecar(name, json!({"port": 80, "servicePort": 8080, "protocol": "http"}), labels)
}

fn zone_proxy(name: &'static str, kind: &str, port: u16) -> world::Proxy {
    let networking = json!({"listeners": [{"type": kind, "address": "", "port": port, "name": name}]});
    world::Proxy { name, labels: json!({"kuma.io/workload": name}), networking, reuse_port: true }
}

#[test]
fn sidecars_run_what_kumas_do() {
    let fleet = Fleet {
        mesh: "envoyconfig",
        identity: "envoyconfig-identity",
        proxies: vec![client("demo-client"), server("test-server")],
        resources: vec![],
    };
    run("sidecars", &fleet, SIDECARS_FLOOR);
}

#[test]
fn zone_proxies_run_what_kumas_do() {
    let mut old = server("zone-proxy-test-server-no-reusable-ports");
    old.reuse_port = false;
    let external = json!({
        "type": "MeshExternalService", "name": "mes-zone-proxy",
        "labels": {
            "kuma.io/origin": "zone", "kuma.io/access": "external", "kuma.io/display-name": "mes-zone-proxy",
        },
        "spec": {
            "match": {"type": "HostnameGenerator", "port": 80, "protocol": "http"},
            "endpoints": [
                {"address": "127.0.0.1", "port": 80, "priority": 1},
                {"address": "127.0.0.1", "port": 81, "priority": 2},
            ],
        },
    });
    let address = json!({
        "type": "MeshZoneAddress", "name": "zone-proxy-ingress", "labels": {"kuma.io/origin": "zone"},
        "spec": {"address": "172.18.0.6", "port": 11001},
    });
    let fleet = Fleet {
        mesh: "envoyconfig-zoneproxies",
        identity: "identity",
        proxies: vec![
            client("zone-proxy-demo-client"),
            server("zone-proxy-test-server"),
            old,
            zone_proxy("zone-proxy-egress", "ZoneEgress", 11002),
            zone_proxy("zone-proxy-ingress", "ZoneIngress", 11001),
        ],
        resources: vec![external, address],
    };
    run("zoneproxies", &fleet, ZONE_PROXIES_FLOOR);
}
