//! The output of `kumactl`, run as a program against the real API or against a canned answer.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail, ensure};
use api::{ApiState, Connection, Settings};
use axum::{Extension, Router};
use cases::{Tally, family_dir};
use model::labels::Site;
use model::{Resource, registry};
use serde_json::Value;
use store::{MemoryStore, Revision, State, Store};

use crate::documents;

const GET_FLOOR: usize = 7;
const APPLY_FLOOR: usize = 4;
const INSPECT_FLOOR: usize = 2;

/// The time at which Kuma runs these cases.
const NOW: &str = "2008-04-01T16:05:36.995Z";

/// The built program; cargo builds it once when it is not up to date.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = Command::new(env!("CARGO")).args(["build", "--quiet", "--package", "kumactl"]).status();
        assert!(built.is_ok_and(|status| status.success()), "kumactl could not be built");
        let this = std::env::current_exe().expect("the path of this test");
        this.ancestors().nth(2).expect("the folder of programs").join("kumactl")
    })
}

/// A server on a free port of this host.
async fn serve(router: Router) -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// The real API over a store with these resources.
async fn control_plane(resources: Vec<Arc<Resource>>) -> Result<(Arc<MemoryStore>, SocketAddr)> {
    let resources = resources.into_iter().map(Arc::unwrap_or_clone);
    let store = Arc::new(MemoryStore::with_state(State::restore(Revision(1), resources)));
    let settings = Settings { site: Site::universal_zone("default"), ..Settings::default() };
    let local = Connection { peer: ([127, 0, 0, 1], 40000).into(), tls: false };
    let router = api::router(ApiState::new(store.clone(), settings)).layer(Extension(local));
    Ok((store, serve(router).await?))
}

/// Runs a command line against a server, in a configuration folder of its own.
async fn kumactl(address: SocketAddr, args: &[&str]) -> Result<Output> {
    let config = std::env::temp_dir().join(format!("kumactl-cases-{}", address.port()));
    let text = format!(
        "contexts:\n- {{name: it, controlPlane: it}}\ncontrolPlanes:\n- name: it\n  coordinates:\n    apiServer: {{url: \
         'http://{address}'}}\ncurrentContext: it\n"
    );
    std::fs::write(&config, text)?;
    let mut command = tokio::process::Command::new(program());
    command.arg("--config-file").arg(&config).args(["--now", NOW]).args(args).env("TZ", "UTC");
    let output = command.output().await;
    std::fs::remove_file(&config)?;
    Ok(output?)
}

/// Standard output must be exactly the file.
fn compare(output: &Output, golden: &Path) -> Result<()> {
    let got = String::from_utf8_lossy(&output.stdout);
    let expected = documents::text(golden);
    let errors = String::from_utf8_lossy(&output.stderr);
    // Go's matcher of golden files ignores blank space at the ends.
    ensure!(got.trim() == expected.trim(), "differs: {errors}\n--- got\n{got}\n--- expected\n{expected}");
    Ok(())
}

async fn compared(address: SocketAddr, args: &[&str], golden: &Path) -> Result<()> {
    compare(&kumactl(address, args).await?, golden)
}

fn run(family: &str, floor: usize, cases: impl AsyncFnOnce(&Path, &mut Tally)) {
    let Some(dir) = family_dir(family) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut tally = Tally::default();
    runtime.block_on(cases(&dir, &mut tally));
    tally.finish(family, floor);
}

fn record(tally: &mut Tally, case: &str, outcome: Result<()>) {
    tally.record(case, outcome.map_err(|e| format!("{e:#}")));
}

/// Every golden file of a folder, with its stem and what follows the stem.
fn goldens(dir: &Path) -> Vec<(String, &'static str, PathBuf)> {
    let suffixes = [".pagination.golden.txt", ".golden.txt", ".golden.json", ".golden.yaml"];
    let mut found = Vec::new();
    for suffix in suffixes {
        for (stem, path) in documents::stems(dir, suffix) {
            if !stem.ends_with(".pagination") {
                found.push((stem, suffix, path));
            }
        }
    }
    found
}

async fn get_case(input: &Path, stem: &str, suffix: &str, golden: &Path, is_single: bool) -> Result<()> {
    let mut resources = documents::resources(input);
    let name = resources.first().map(|r| r.key.name.to_string()).context("a resource")?;
    // Kuma's client reads its store without asking for the mesh.
    let missing = resources.iter().map(|r| r.key.mesh.to_string()).find(|name| !name.is_empty());
    resources.extend(missing.map(|name| mesh(&name)));
    let (_, address) = control_plane(resources).await?;
    let what = stem.strip_prefix("get-").context("the name of a case begins with get-")?;
    let format = if suffix.ends_with("json") {
        "-ojson"
    } else if suffix.ends_with("yaml") {
        "-oyaml"
    } else {
        "-otable"
    };
    let mut args = vec!["get", what];
    if is_single {
        args.push(&name);
    }
    args.push(format);
    if suffix.contains("pagination") {
        args.extend(["--size", "1"]);
    }
    compared(address, &args, golden).await
}

#[test]
fn get_prints_what_kuma_prints() {
    run("kumactl-get", GET_FLOOR, async |dir, tally| {
        for (folder, is_single) in [("get", true), ("list", false)] {
            let dir = dir.join(folder);
            for (stem, suffix, golden) in goldens(&dir) {
                let ending = if is_single { "golden.yaml" } else { "input.yaml" };
                let input = dir.join(format!("{stem}.{ending}"));
                let outcome = get_case(&input, &stem, suffix, &golden, is_single).await;
                record(tally, &format!("{stem}{suffix}"), outcome);
            }
        }
    });
}

fn mesh(name: &str) -> Arc<Resource> {
    Arc::new(documents::resource_of(registry::MESH, "", name, serde_json::json!({})))
}

/// What a store dump says of a resource besides what the control plane computes.
fn written(resource: &Resource) -> (String, Value) {
    let mut document: Value = serde_json::from_str(&model::document::render(resource)).unwrap_or_default();
    if let Some(fields) = document.as_object_mut() {
        fields.retain(|name, _| !["creationTime", "modificationTime", "labels", "kri"].contains(&name.as_str()));
    }
    (resource.key.to_string(), document)
}

async fn apply_golden(dir: &Path, stem: &str) -> Result<()> {
    let (store, address) = control_plane(vec![mesh("default")]).await?;
    let input = dir.join(format!("{stem}.input.yaml"));
    let output = kumactl(address, &["apply", "-f", &input.to_string_lossy()]).await?;
    compare(&output, &dir.join(format!("{stem}.golden.stdout.txt")))?;
    let state = store.snapshot();
    for expected in documents::resources(&dir.join(format!("{stem}.golden.store.yaml"))) {
        let got = state.get(&expected.key).with_context(|| format!("{} is not in the store", expected.key))?;
        ensure!(written(got) == written(&expected), "{:?} is not {:?}", written(got), written(&expected));
    }
    Ok(())
}

/// Applies a file or folder; these names must then be in the store.
async fn apply_and_find(args: &[&str], names: &[&str]) -> Result<()> {
    let (store, address) = control_plane(vec![mesh("default")]).await?;
    let output = kumactl(address, args).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let state = store.snapshot();
    for name in names {
        let (kind, name) = name.split_once('/').context("type and name")?;
        let kind = registry::by_name(kind).context("a type")?;
        if !state.of_kind(kind).any(|resource| &*resource.key.name == name) {
            bail!("{kind} {name} is not in the store");
        }
    }
    Ok(())
}

#[test]
fn apply_does_and_prints_what_kuma_does() {
    run("kumactl-apply", APPLY_FLOOR, async |dir, tally| {
        for (stem, _) in documents::stems(&dir.join("golden"), ".input.yaml") {
            record(tally, &stem, apply_golden(&dir.join("golden"), &stem).await);
        }
        let template = dir.join("apply-many-dataplane-template.yaml");
        let golden = dir.join("apply-many-dataplane-template.golden.yaml");
        let template = template.to_string_lossy();
        let dry_run = async {
            let (_, address) = control_plane(Vec::new()).await?;
            compared(address, &["apply", "-f", &template, "-v", "address=2.2.2.2", "--dry-run"], &golden).await
        };
        record(tally, "apply-many-dataplane-template", dry_run.await);
        let template = dir.join("apply-mesh-template.yaml");
        let args = ["apply", "-f", &template.to_string_lossy(), "-v", "name=meshinit", "-v", "type=Mesh"];
        record(tally, "apply-mesh-template", apply_and_find(&args, &["Mesh/meshinit"]).await);
        let folder = dir.join("apply-dir");
        let args = ["apply", "-f", &folder.to_string_lossy()];
        record(tally, "apply-dir", apply_and_find(&args, &["Mesh/sample", "Dataplane/sample"]).await);
    });
}

/// A server that answers every path with one document.
async fn canned(body: Value) -> Result<SocketAddr> {
    serve(Router::new().fallback(move || std::future::ready(axum::Json(body.clone())))).await
}

#[test]
fn inspect_prints_what_kuma_prints() {
    run("kumactl-inspect", INSPECT_FLOOR, async |dir, tally| {
        let dataplane = async {
            let body = serde_json::from_str(&documents::text(&dir.join("inspect-dataplane.server-response.json")))?;
            let golden = dir.join("inspect-dataplane.golden.txt");
            compared(canned(body).await?, &["inspect", "dataplane", "backend-1"], &golden).await
        };
        record(tally, "inspect-dataplane", dataplane.await);
        let policy = async {
            let item = |name: &str| serde_json::json!({"type": "Dataplane", "mesh": "default", "name": name});
            let items = [item("foo"), item("bar"), item("baz")];
            let body = serde_json::json!({"total": 3, "items": items, "next": null});
            let args = ["inspect", "meshtrafficpermission", "tt1", "--new-api"];
            compared(canned(body).await?, &args, &dir.join("inspect-mtp-dp.golden.txt")).await
        };
        record(tally, "inspect-mtp-dp", policy.await);
    });
}
