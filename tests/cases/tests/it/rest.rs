//! Runs cases of the REST API: a store with the case's resources, requests, expected answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use api::{ApiState, Connection, GuiSettings, Settings};
use axum::Router;
use axum::body::Body;
use cases::Tally;
use http::{Method, Request};
use http_body_util::BodyExt;
use model::labels::Site;
use serde_json::Value;
use store::{MemoryStore, Revision, State};
use tower::ServiceExt;

use crate::documents;

/// What stands for the address of the server in expected answers.
const HOST: &str = "localhost:5681";

/// Runs all cases of a family; those under a folder called `global` on a global control plane.
pub(crate) fn run(family: &str, floor: usize) {
    let Some(dir) = cases::family_dir(family) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut tally = Tally::default();
    for input in inputs(&dir) {
        let name = input.strip_prefix(&dir).unwrap_or(&input).display().to_string();
        let outcome = runtime.block_on(case(&input)).map_err(|e| format!("{e:#}"));
        tally.record(name.trim_end_matches(".input.yaml"), outcome);
    }
    tally.finish(family, floor);
}

fn inputs(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(".input.yaml") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

struct Action {
    uri: String,
    status: u16,
    method: Method,
}

async fn case(input: &Path) -> Result<()> {
    let text = std::fs::read_to_string(input)?;
    let actions = actions(&text)?;
    let is_global = input.parent().is_some_and(|dir| dir.ends_with("global"));
    let resources = documents::resources(input).into_iter().map(Arc::unwrap_or_clone);
    let store = Arc::new(MemoryStore::with_state(State::restore(Revision(1), resources)));
    let site = if is_global { Site::Global } else { Site::universal_zone("default") };
    let gui = GuiSettings { enabled: false, ..Settings::default().gui };
    let settings = Settings { site, gui, ..Settings::default() };
    let router = api::router(ApiState::new(store, settings));
    let stem = input.to_string_lossy().trim_end_matches(".input.yaml").to_owned();
    for (index, action) in actions.iter().enumerate() {
        let numbered = format!("{stem}_{index:02}");
        let stem = if actions.len() == 1 && !Path::new(&format!("{numbered}.golden.json")).exists() {
            &stem
        } else {
            &numbered
        };
        act(&router, action, stem).await.with_context(|| format!("{} {}", action.method, action.uri))?;
    }
    Ok(())
}

fn actions(text: &str) -> Result<Vec<Action>> {
    let lines = text.lines().take_while(|line| line.starts_with('#')).filter(|line| line.starts_with("#/"));
    lines
        .map(|line| {
            let mut words = line.trim_start_matches('#').split_whitespace();
            let uri = words.next().context("a path")?.to_owned();
            let status = words.next().context("a status")?.parse()?;
            let method = words.next().and_then(|word| word.strip_prefix("method=")).unwrap_or("GET").parse()?;
            Ok(Action { uri, status, method })
        })
        .collect()
}

async fn act(router: &Router, action: &Action, stem: &str) -> Result<()> {
    let body = match action.method {
        Method::PUT | Method::POST => std::fs::read(format!("{stem}.request.json"))?,
        _ => Vec::new(),
    };
    let mut request = Request::builder().method(&action.method).uri(&action.uri).header("host", HOST);
    if !body.is_empty() {
        request = request.header("content-type", "application/json");
    }
    let mut request = request.body(Body::from(body))?;
    request.extensions_mut().insert(Connection { peer: ([127, 0, 0, 1], 40000).into(), tls: false });
    let response = router.clone().oneshot(request).await?;
    let status = response.status().as_u16();
    let answer = String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?;
    if status != action.status {
        bail!("status {status}, expected {}: {answer}", action.status);
    }
    let golden = PathBuf::from(format!("{stem}.golden.json"));
    if !golden.exists() {
        return Ok(());
    }
    let expected = normal(serde_json::from_str(&std::fs::read_to_string(golden)?)?);
    let got = normal(serde_json::from_str(&answer.replace(HOST, "{{address}}"))?);
    if got != expected {
        bail!("answer differs\n  got      {got}\n  expected {expected}");
    }
    Ok(())
}

/// Times do not count.
fn normal(value: Value) -> Value {
    match value {
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => Value::String("(time)".to_owned()),
        Value::Array(items) => items.into_iter().map(normal).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, field)| (name, normal(field))).collect(),
        other => other,
    }
}
