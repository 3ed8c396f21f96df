//! The server that Envoy hands scrapes to, on a Unix socket of the work directory.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::Scraper;

/// Prometheus' text format.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
/// The path that listeners of MeshMetric ask for.
const MESH_METRIC: &str = "/meshmetric";

/// Serves metrics until `stop`.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) async fn serve(scraper: Arc<Scraper>, socket: &Path, stop: CancellationToken) -> Result<()> {
    if socket.exists() {
        std::fs::remove_file(socket).with_context(|| {
            format!("file {} exists and probably opened by another kuma-dp instance", socket.display())
        })?;
    }
    let listener = UnixListener::bind(socket).with_context(|| format!("could not listen on {}", socket.display()))?;
    let app = Router::new().fallback(answer).with_state(scraper);
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await.context("metrics hijacker")
}

async fn answer(State(scraper): State<Arc<Scraper>>, uri: Uri) -> (HeaderMap, String) {
    let body = if uri.path().starts_with(MESH_METRIC) {
        scraper.metrics().await
    } else {
        scraper.of_proxy(uri.query().unwrap_or_default()).await
    };
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))]);
    (headers, body)
}
