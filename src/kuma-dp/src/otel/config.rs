//! Where telemetry goes, as the control plane says it under `/otel`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use model::kinds::duration::GoDuration;
use serde::Deserialize;
use tokio::sync::watch;

use crate::dynamic_config::Handler;

/// How often metrics are sent when nothing is said.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// Reasons why metrics are not sent, though other signals are.
const AMBIGUOUS: &str = "MultipleBackendsForSignal";
/// Reasons that leave the explicit configuration in force.
const SOFT: [&str; 3] = ["EnvDisabledByPolicy", "SignalOverridesDisallowed", AMBIGUOUS];

/// A kind of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    pub(super) const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// Its name in paths and messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }

    /// The gRPC method that takes it.
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }
}

/// One collector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Backend {
    pub(super) name: String,
    /// Where Envoy sends to.
    pub(super) socket_path: String,
    /// `host:port` of the collector; without a host it is on this machine.
    pub(super) endpoint: String,
    #[serde(rename = "useHTTP")]
    pub(super) use_http: bool,
    #[serde(rename = "useHTTPS")]
    pub(super) use_https: bool,
    pub(super) path: String,
    traces: Option<SignalPlan>,
    logs: Option<SignalPlan>,
    metrics: Option<SignalPlan>,
}

/// What becomes of one signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SignalPlan {
    enabled: bool,
    missing_fields: Vec<String>,
    blocked_reasons: Vec<String>,
    refresh_interval: Option<GoDuration>,
}

impl Backend {
    fn plan(&self, signal: Signal) -> Option<&SignalPlan> {
        match signal {
            Signal::Traces => self.traces.as_ref(),
            Signal::Logs => self.logs.as_ref(),
            Signal::Metrics => self.metrics.as_ref(),
        }
    }

    /// Why a signal is not passed on; `None` when it is.
    pub(super) fn refusal(&self, signal: Signal) -> Option<String> {
        let plan = self.plan(signal).filter(|plan| plan.enabled);
        let Some(plan) = plan else { return Some("signal is not enabled".to_owned()) };
        let is_hard = |reason: &&String| !SOFT.contains(&reason.as_str());
        let hard: Vec<_> = plan.blocked_reasons.iter().filter(is_hard).cloned().collect();
        let reasons = if hard.is_empty() && !plan.missing_fields.is_empty() { &plan.missing_fields } else { &hard };
        (!reasons.is_empty()).then(|| format!("blocked: {}", reasons.join(", ")))
    }

    /// How often metrics are sent; `None` when they are not.
    pub(super) fn metrics_interval(&self) -> Option<Duration> {
        if self.refusal(Signal::Metrics).is_some() {
            return None;
        }
        let plan = self.metrics.as_ref()?;
        let is_ambiguous = plan.blocked_reasons.iter().any(|reason| reason == AMBIGUOUS);
        let interval = plan.refresh_interval.map_or(REFRESH_INTERVAL, GoDuration::to_std);
        (!is_ambiguous).then_some(interval)
    }

    /// The collector's address.
    pub(super) fn address(&self) -> String {
        if self.endpoint.starts_with(':') {
            let host = std::env::var("HOST_IP").unwrap_or_else(|_| "127.0.0.1".to_owned());
            return format!("{host}{}", self.endpoint);
        }
        self.endpoint.clone()
    }

    /// The URL of a signal at a collector that speaks HTTP.
    pub(super) fn url(&self, signal: Signal) -> String {
        let scheme = if self.use_https { "https" } else { "http" };
        format!("{scheme}://{}{}/v1/{}", self.address(), self.path.trim_end_matches('/'), signal.name())
    }
}

/// All collectors.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Plan {
    #[serde(default)]
    pub(super) backends: Vec<Backend>,
}

/// The plan, told to the pipe.
pub(crate) type SharedPlan = Arc<watch::Sender<Arc<Plan>>>;

/// Takes the plan when it changes.
pub(crate) struct OtelHandler(pub(crate) SharedPlan);

impl Handler for OtelHandler {
    fn path(&self) -> &'static str {
        "/otel"
    }

    fn changed(&self, body: Option<&[u8]>) -> Result<()> {
        let plan: Plan = match body {
            Some(body) => serde_json::from_slice(body).context("the plan of telemetry")?,
            None => Plan::default(),
        };
        tracing::info!(backends = plan.backends.len(), "collectors of telemetry changed");
        self.0.send_replace(Arc::new(plan));
        Ok(())
    }
}
