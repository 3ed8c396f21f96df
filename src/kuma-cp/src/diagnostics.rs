//! The diagnostics server: `/ready`, `/healthy`, `/metrics`, `/logging`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};

use crate::log_levels::{LevelError, LogLevels};
use crate::readiness::Readiness;

/// Longest body of a request, in bytes.
const BODY_LEN_MAX: usize = 4096;

/// What it shows.
#[derive(Clone)]
pub(crate) struct Diagnostics {
    /// Whether all parts serve.
    pub(crate) readiness: Arc<Readiness>,
    /// Metrics of the process.
    pub(crate) metrics: PrometheusHandle,
    /// Log levels.
    pub(crate) log_levels: Arc<LogLevels>,
}

/// Its routes.
pub(crate) fn router(diagnostics: Diagnostics) -> Router {
    Router::new()
        .route("/healthy", get(async || StatusCode::OK))
        .route("/ready", get(ready))
        .route("/metrics", get(scrape))
        .route("/logging", get(levels).put(set_level).delete(reset_levels))
        .route("/logging/{component}", delete(reset_level))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"))
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .with_state(diagnostics)
}

async fn ready(State(diagnostics): State<Diagnostics>) -> impl IntoResponse {
    let missing = diagnostics.readiness.missing();
    if missing.is_empty() {
        return (StatusCode::OK, String::new());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not serving: {}\n", missing.join(", ")))
}

async fn scrape(State(diagnostics): State<Diagnostics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], diagnostics.metrics.render())
}

fn components(levels: BTreeMap<String, String>) -> Response {
    Json(json!({"components": levels})).into_response()
}

async fn levels(State(diagnostics): State<Diagnostics>) -> Response {
    components(diagnostics.log_levels.all())
}

async fn set_level(State(diagnostics): State<Diagnostics>, body: Bytes) -> Response {
    let document: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |field: &str| document.get(field).and_then(Value::as_str);
    let (Some(component), Some(level)) = (text("component"), text("level")) else {
        return (StatusCode::BAD_REQUEST, "invalid request body\n").into_response();
    };
    match diagnostics.log_levels.set(component, level) {
        Ok(()) => components(diagnostics.log_levels.all()),
        Err(error @ LevelError::TooMany) => (StatusCode::TOO_MANY_REQUESTS, format!("{error}\n")).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

async fn reset_levels(State(diagnostics): State<Diagnostics>) -> Response {
    components(diagnostics.log_levels.reset(None))
}

async fn reset_level(State(diagnostics): State<Diagnostics>, Path(component): Path<String>) -> Response {
    components(diagnostics.log_levels.reset(Some(&component)))
}
