//! The method, which may wait for news.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actors::ControlPlane;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use model::kinds::duration::GoDuration;
use model::registry::MESH;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::{KindFilter, Store};
use tokio::time::Instant;

use super::assignments::of_client;

/// Longest body of a request, in bytes.
const BODY_LEN_MAX: usize = 64 * 1024;
/// The type of what is served.
const TYPE: &str = "type.googleapis.com/kuma.observability.v1.MonitoringAssignment";

/// What it answers from.
#[derive(Clone)]
pub(crate) struct Mads {
    /// All resources.
    pub(crate) store: Arc<dyn Store>,
    /// The pictures of meshes.
    pub(crate) proxies: ControlPlane,
    /// `monitoringAssignmentServer.defaultFetchTimeout`.
    pub(crate) fetch_timeout: Duration,
    /// `monitoringAssignmentServer.assignmentRefreshInterval`: a client that waits looks no more often.
    pub(crate) refresh_interval: Duration,
}

/// Its route.
pub(crate) fn router(mads: Mads) -> Router {
    Router::new()
        .route("/v3/discovery:monitoringassignments", post(discover))
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .with_state(mads)
}

/// What is read of a discovery request, under both names that JSON of protobuf allows.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Request {
    #[serde(alias = "versionInfo")]
    version_info: String,
    node: Option<Node>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Node {
    id: String,
}

fn bad_request(title: &str, detail: &str) -> Response {
    let problem = json!({"type": "/std-errors", "status": 400, "title": title, "detail": detail, "details": detail});
    (StatusCode::BAD_REQUEST, Json(problem)).into_response()
}

async fn discover(State(mads): State<Mads>, Query(query): Query<HashMap<String, String>>, body: Bytes) -> Response {
    let request: Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return bad_request("Could not parse request body", &error.to_string()),
    };
    let timeout = match query.get("fetch-timeout").map(|text| text.parse::<GoDuration>()) {
        None => mads.fetch_timeout,
        Some(Ok(timeout)) => timeout.to_std(),
        Some(Err(error)) => return bad_request("Could not parse fetch-timeout", &error.to_string()),
    };
    let client = request.node.unwrap_or_default().id;
    let deadline = Instant::now() + timeout;
    // The watch begins before the first look, so that nothing falls between.
    let mut watch = mads.store.watch(None, KindFilter::All);
    loop {
        let (version, resources) = mads.assignments(&client);
        if version != request.version_info {
            return Json(json!({"version_info": version, "resources": resources, "type_url": TYPE})).into_response();
        }
        let changed = async {
            tokio::time::sleep(mads.refresh_interval).await;
            watch.next().await
        };
        if timeout.is_zero() || !matches!(tokio::time::timeout_at(deadline, changed).await, Ok(Some(_))) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
    }
}

impl Mads {
    /// What a client scrapes, and the version of that: equal for equal content, in every replica.
    fn assignments(&self, client: &str) -> (String, Vec<Value>) {
        let state = self.store.snapshot();
        let views = state.of_kind(MESH).filter_map(|mesh| Some(self.proxies.view(&mesh.key.name)?.0));
        let views: Vec<_> = views.collect();
        let resources = of_client(views.iter().map(|view| &**view), client);
        let digest = Sha256::digest(Value::from(resources.clone()).to_string());
        let version = digest.first_chunk().map(|bytes| uuid::Uuid::from_bytes(*bytes)).unwrap_or_default();
        (version.to_string(), resources)
    }
}
