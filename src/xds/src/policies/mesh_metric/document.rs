//! What kuma-dp is told to gather. The order of the fields is Kuma's: the document's hash is its
//! version.

use std::collections::BTreeMap;

use model::kinds::duration::GoDuration;
use model::kinds::mesh_metric::{BackendType, Conf, OtelBackend, Sidecar};
use serde::Serialize;

use super::super::ProxyTraits;
use crate::resource_set::Origin;

#[derive(Serialize)]
struct Document<'a> {
    observability: Observability<'a>,
}

#[derive(Serialize)]
struct Observability<'a> {
    metrics: Metrics<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics<'a> {
    applications: Option<Vec<Application<'a>>>,
    backends: Option<Vec<Backend>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sidecar: Option<&'a Sidecar>,
    extra_labels: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
struct Application<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    path: &'a str,
    port: u32,
    address: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Backend {
    #[serde(rename = "type")]
    kind: &'static str,
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_telemetry: Option<Export>,
}

/// A collector to which kuma-dp sends through Envoy.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Export {
    #[serde(skip)]
    name: String,
    endpoint: String,
    refresh_interval: GoDuration,
}

impl Export {
    pub(super) fn new(name: &str, socket: String, conf: &OtelBackend) -> Self {
        let refresh_interval = conf.refresh_interval.unwrap_or(GoDuration::from_secs(60));
        Self { name: name.to_owned(), endpoint: socket, refresh_interval }
    }
}

/// The text of the document.
pub(super) fn body(conf: &Conf, exports: Vec<Export>, proxy: &ProxyTraits<'_>) -> String {
    let is_zone_proxy_only = proxy.inbounds.is_empty() && !proxy.zone_listeners.is_empty();
    let applications: Vec<_> = conf
        .applications
        .iter()
        .flatten()
        .filter(|_| !is_zone_proxy_only)
        .map(|application| Application {
            name: application.name.as_deref(),
            path: application.path.as_deref().unwrap_or("/metrics"),
            port: application.port,
            address: application.address.as_deref().unwrap_or_default(),
        })
        .collect();
    let has_prometheus = conf.backends.iter().flatten().any(|backend| backend.kind == BackendType::Prometheus);
    let prometheus = has_prometheus.then_some(Backend { kind: "Prometheus", name: None, open_telemetry: None });
    let exports = exports.into_iter().map(|export| Backend {
        kind: "OpenTelemetry",
        name: Some(export.name.clone()),
        open_telemetry: Some(export),
    });
    let backends: Vec<_> = prometheus.into_iter().chain(exports).collect();
    let mut extra_labels =
        BTreeMap::from([("mesh", proxy.mesh.to_owned()), ("kuma.proxy_role", role(proxy).to_owned())]);
    if let Some(zone) = proxy.labels.get(model::labels::ZONE).filter(|zone| !zone.is_empty()) {
        extra_labels.insert("zone", zone.clone());
    }
    if let Some(workload) = proxy.workload().filter(|_| !is_zone_proxy_only) {
        extra_labels.insert("kuma.workload", workload.to_owned());
    }
    let metrics = Metrics {
        applications: (!applications.is_empty()).then_some(applications),
        backends: (!backends.is_empty()).then_some(backends),
        sidecar: conf.sidecar.as_ref(),
        extra_labels,
    };
    // These types have no map with keys that are no strings, so JSON can express them.
    serde_json::to_string(&Document { observability: Observability { metrics } }).unwrap_or_default()
}

fn role(proxy: &ProxyTraits<'_>) -> &'static str {
    let has = |origin| proxy.zone_origins.contains(&origin);
    match (has(Origin::Ingress), has(Origin::Egress)) {
        _ if proxy.is_gateway => "gateway",
        (true, true) => "zone-proxy",
        (true, false) => "zone-ingress",
        (false, true) => "zone-egress",
        (false, false) => "sidecar",
    }
}
