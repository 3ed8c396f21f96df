//! What is scraped, as the control plane says it under `/meshmetric`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use model::kinds::duration::GoDuration;
use serde::Deserialize;
use tokio::sync::watch;

use super::profile::{Selection, Sidecar};
use crate::dynamic_config::Handler;

/// The configuration in force.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(super) applications: Vec<Application>,
    pub(super) selection: Selection,
    pub(super) include_unused: bool,
    pub(super) extra_labels: BTreeMap<String, String>,
    exports: Vec<(String, Duration)>,
}

impl Default for Config {
    /// Before the control plane says anything: Envoy alone, its basic metrics.
    fn default() -> Self {
        Self::of(Metrics::default())
    }
}

/// A workload that tells metrics.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Application {
    #[serde(default)]
    pub(super) path: String,
    pub(super) port: u16,
    /// Empty for the address of the proxy.
    #[serde(default)]
    pub(super) address: String,
}

#[derive(Deserialize)]
struct Document {
    observability: Observability,
}

#[derive(Deserialize)]
struct Observability {
    metrics: Metrics,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metrics {
    applications: Option<Vec<Application>>,
    backends: Option<Vec<Backend>>,
    sidecar: Option<Sidecar>,
    extra_labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Backend {
    open_telemetry: Option<Export>,
}

/// A listener of Envoy that leads to a collector.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Export {
    endpoint: String,
    refresh_interval: Option<GoDuration>,
}

/// How often metrics are sent when nothing is said.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);

impl Config {
    /// The sockets of Envoy to which metrics are sent, and how often.
    pub(crate) fn exports(&self) -> Vec<(String, Duration)> {
        self.exports.clone()
    }

    fn of(metrics: Metrics) -> Self {
        let sidecar = metrics.sidecar.unwrap_or_default();
        let exports = metrics.backends.into_iter().flatten().filter_map(|backend| backend.open_telemetry);
        let exports = exports
            .map(|export| (export.endpoint, export.refresh_interval.map_or(REFRESH_INTERVAL, GoDuration::to_std)));
        Self {
            applications: metrics.applications.unwrap_or_default(),
            selection: Selection::of(&sidecar),
            include_unused: sidecar.include_unused,
            extra_labels: metrics.extra_labels.unwrap_or_default(),
            exports: exports.collect(),
        }
    }

    pub(super) fn parse(body: &[u8]) -> Result<Self> {
        let document: Document = serde_json::from_slice(body).context("the configuration of metrics")?;
        Ok(Self::of(document.observability.metrics))
    }
}

/// The configuration, told to the scraper.
pub(crate) type SharedConfig = Arc<watch::Sender<Arc<Config>>>;

/// Takes the configuration when it changes.
pub(crate) struct MetricsHandler(pub(crate) SharedConfig);

impl Handler for MetricsHandler {
    fn path(&self) -> &'static str {
        "/meshmetric"
    }

    fn changed(&self, body: Option<&[u8]>) -> Result<()> {
        let config = body.map(Config::parse).transpose()?.unwrap_or_default();
        tracing::info!(applications = config.applications.len(), "configuration of metrics changed");
        self.0.send_replace(Arc::new(config));
        Ok(())
    }
}
