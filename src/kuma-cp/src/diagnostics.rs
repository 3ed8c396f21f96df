//! The diagnostics server: `/ready`, `/healthy`, `/metrics`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::readiness::Readiness;

#[derive(Clone)]
struct Diagnostics {
    readiness: Arc<Readiness>,
    metrics: PrometheusHandle,
}

/// Its routes.
pub(crate) fn router(readiness: Arc<Readiness>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthy", get(async || StatusCode::OK))
        .route("/ready", get(ready))
        .route("/metrics", get(scrape))
        .with_state(Diagnostics { readiness, metrics })
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
