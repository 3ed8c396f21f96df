//! MeshCircuitBreaker: limits of connections and requests, and ejection of endpoints that fail.
//! Resource: Kuma `MeshCircuitBreaker`. Touches: Cluster.circuit_breakers, Cluster.outlier_detection,
//! Cluster.common_lb_config.healthy_panic_threshold.

use model::kinds::duration::GoDuration;
use model::kinds::int_or_string::IntOrString;
use model::registry;
use serde::Deserialize;

use super::{Edit, Policy};
use crate::envoy::cluster::circuit_breakers::Thresholds;
use crate::envoy::cluster::{Cluster, OutlierDetection};
use crate::envoy::types::Percent;
use crate::envoy::{UInt32Value, duration};
use crate::names;

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_CIRCUIT_BREAKER, edit };

/// The merged conf.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Conf {
    connection_limits: Option<ConnectionLimits>,
    outlier_detection: Option<Outliers>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConnectionLimits {
    max_connections: Option<u32>,
    max_connection_pools: Option<u32>,
    max_pending_requests: Option<u32>,
    max_retries: Option<u32>,
    max_requests: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Outliers {
    disabled: Option<bool>,
    interval: Option<GoDuration>,
    base_ejection_time: Option<GoDuration>,
    max_ejection_percent: Option<u32>,
    split_external_and_local_errors: Option<bool>,
    detectors: Option<Detectors>,
    healthy_panic_threshold: Option<IntOrString>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Detectors {
    total_failures: Option<Consecutive>,
    gateway_failures: Option<Consecutive>,
    local_origin_failures: Option<Consecutive>,
    success_rate: Option<SuccessRate>,
    failure_percentage: Option<FailurePercentage>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Consecutive {
    consecutive: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SuccessRate {
    minimum_hosts: Option<u32>,
    request_volume: Option<u32>,
    standard_deviation_factor: Option<IntOrString>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FailurePercentage {
    minimum_hosts: Option<u32>,
    request_volume: Option<u32>,
    threshold: Option<u32>,
}

fn edit(edit: &mut Edit<'_>) {
    for cluster in edit.set.clusters.values_mut() {
        default_threshold(&mut cluster.cluster).track_remaining = true;
    }
    for inbound in edit.proxy.inbounds {
        let Some(rules) = edit.rules.inbound(&inbound.address, u32::from(inbound.port)) else { continue };
        let Some(conf) = edit.faults.catch_all::<Conf>(rules) else { continue };
        if let Some(cluster) = edit.set.clusters.get_mut(&names::inbound(&inbound.section)) {
            apply(&conf, &mut cluster.cluster);
        }
    }
    for (destination, cluster) in edit.set.destination_clusters_mut() {
        if let Some(conf) = edit.faults.to::<Conf>(edit.rules.to.compute(&destination)) {
            apply(&conf, &mut cluster.cluster);
        }
    }
}

/// The limits of ordinary traffic, made when there are none.
fn default_threshold(cluster: &mut Cluster) -> &mut Thresholds {
    let thresholds = &mut cluster.circuit_breakers.get_or_insert_default().thresholds;
    // Priority 0 is DEFAULT.
    let at = thresholds.iter().position(|threshold| threshold.priority == 0).unwrap_or_else(|| {
        thresholds.push(Thresholds::default());
        thresholds.len() - 1
    });
    &mut thresholds[at]
}

fn apply(conf: &Conf, cluster: &mut Cluster) {
    if let Some(limits) = &conf.connection_limits {
        let threshold = default_threshold(cluster);
        for (field, value) in [
            (&mut threshold.max_connections, limits.max_connections),
            (&mut threshold.max_connection_pools, limits.max_connection_pools),
            (&mut threshold.max_pending_requests, limits.max_pending_requests),
            (&mut threshold.max_retries, limits.max_retries),
            (&mut threshold.max_requests, limits.max_requests),
        ] {
            *field = value.map(number).or(*field);
        }
    }
    let Some(outliers) = conf.outlier_detection.as_ref().filter(|outliers| outliers.disabled != Some(true)) else {
        return;
    };
    cluster.outlier_detection = Some(outlier_detection(outliers));
    if let Some(threshold) = outliers.healthy_panic_threshold.as_ref().and_then(IntOrString::as_decimal) {
        cluster.common_lb_config.get_or_insert_default().healthy_panic_threshold = Some(Percent { value: threshold });
    }
}

fn number(value: u32) -> UInt32Value {
    UInt32Value { value }
}

/// Envoy enforces some detectors by default: what is not asked for must be switched off.
fn outlier_detection(conf: &Outliers) -> OutlierDetection {
    let enforced = |asked: bool| Some(number(if asked { 100 } else { 0 }));
    let span = |span: Option<GoDuration>| span.map(|span| duration(span.to_std()));
    let mut detection = OutlierDetection {
        interval: span(conf.interval),
        base_ejection_time: span(conf.base_ejection_time),
        max_ejection_percent: conf.max_ejection_percent.map(number),
        split_external_local_origin_errors: conf.split_external_and_local_errors.unwrap_or_default(),
        ..Default::default()
    };
    let none = Detectors::default();
    let detectors = conf.detectors.as_ref().unwrap_or(&none);
    let consecutive = |detector: &Option<Consecutive>| detector.as_ref().and_then(|d| d.consecutive);
    let total = consecutive(&detectors.total_failures);
    let gateway = consecutive(&detectors.gateway_failures);
    let local = consecutive(&detectors.local_origin_failures);
    detection.consecutive_5xx = total.map(number);
    detection.enforcing_consecutive_5xx = enforced(total.is_some());
    detection.consecutive_gateway_failure = gateway.map(number);
    detection.enforcing_consecutive_gateway_failure = enforced(gateway.is_some());
    detection.consecutive_local_origin_failure = local.map(number);
    detection.enforcing_consecutive_local_origin_failure = enforced(local.is_some());
    if conf.detectors.is_none() {
        return detection;
    }
    detection.enforcing_success_rate = enforced(detectors.success_rate.is_some());
    detection.enforcing_local_origin_success_rate = detection.enforcing_success_rate;
    if let Some(rate) = &detectors.success_rate {
        detection.success_rate_minimum_hosts = rate.minimum_hosts.map(number);
        detection.success_rate_request_volume = rate.request_volume.map(number);
        let factor = rate.standard_deviation_factor.as_ref().and_then(IntOrString::as_decimal);
        // Envoy counts in thousandths; the cast truncates and saturates.
        detection.success_rate_stdev_factor = factor.map(|factor| number((factor * 1000.0) as u32));
    }
    detection.enforcing_failure_percentage = enforced(detectors.failure_percentage.is_some());
    detection.enforcing_failure_percentage_local_origin = detection.enforcing_failure_percentage;
    if let Some(failures) = &detectors.failure_percentage {
        detection.failure_percentage_minimum_hosts = failures.minimum_hosts.map(number);
        detection.failure_percentage_request_volume = failures.request_volume.map(number);
        detection.failure_percentage_threshold = failures.threshold.map(number);
    }
    detection
}

#[cfg(test)]
mod tests;
