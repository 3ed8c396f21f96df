//! Metrics as messages of OpenTelemetry, sent at an interval.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::Message;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::channel::Channel;
use super::config::Signal;
use super::grpc;
use super::protocol::{
    CUMULATIVE, Data, ExportMetricsServiceRequest, Gauge, Histogram, HistogramDataPoint, InstrumentationScope,
    KeyValue, Metric, NumberDataPoint, Resource, ResourceMetrics, ScopeMetrics, Sum, attribute,
};
use crate::metrics::{Family, FamilyKind, Labels, Sample, Scraper};

/// Beginning of the labels that name who measured.
const SCOPE_PREFIX: &str = "otel_scope_";
/// The label with the upper bound of a bucket.
const BOUND: &str = "le";

/// Sends metrics at an interval until `stop`, and once more then.
pub(super) async fn export(scraper: &Scraper, channel: &Channel, interval: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        send(scraper, channel).await;
    }
    send(scraper, channel).await;
}

async fn send(scraper: &Scraper, channel: &Channel) {
    let request = request(scraper.families().await, now());
    let outcome = channel.send(Signal::Metrics, grpc::frame(&request.encode_to_vec())).await;
    if let Err(failure) = outcome {
        tracing::warn!(%failure, "metrics were not sent");
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or_default()
}

/// The families as one request; samples without a time are of `now`, in nanoseconds since 1970.
pub(super) fn request(families: Vec<Family>, now: u64) -> ExportMetricsServiceRequest {
    let mut scopes: BTreeMap<(String, String), Vec<Metric>> = BTreeMap::new();
    for family in families {
        let mut by_scope: BTreeMap<(String, String), Vec<Sample>> = BTreeMap::new();
        for mut sample in family.samples {
            let part = |name: &str| sample.label(&format!("{SCOPE_PREFIX}{name}")).unwrap_or_default().to_owned();
            let scope = (part("name"), part("version"));
            sample.labels.retain(|(name, _)| !name.starts_with(SCOPE_PREFIX));
            by_scope.entry(scope).or_default().push(sample);
        }
        for (scope, samples) in by_scope {
            let description = family.help.clone().unwrap_or_default();
            let Some(data) = data(family.kind, &samples, now) else { continue };
            let metric = Metric { name: family.name.clone(), description, data: Some(data) };
            scopes.entry(scope).or_default().push(metric);
        }
    }
    let scope_metrics = scopes.into_iter().map(|((name, version), metrics)| ScopeMetrics {
        scope: Some(InstrumentationScope { name, version }),
        metrics,
    });
    let resource = Resource { attributes: vec![attribute("service.name", "kuma-dp")] };
    let metrics = ResourceMetrics { resource: Some(resource), scope_metrics: scope_metrics.collect() };
    ExportMetricsServiceRequest { resource_metrics: vec![metrics] }
}

fn data(kind: FamilyKind, samples: &[Sample], now: u64) -> Option<Data> {
    let points = || samples.iter().map(|sample| number(sample, now)).collect();
    Some(match kind {
        FamilyKind::Gauge => Data::Gauge(Gauge { data_points: points() }),
        FamilyKind::Counter => {
            Data::Sum(Sum { data_points: points(), aggregation_temporality: CUMULATIVE, is_monotonic: true })
        }
        FamilyKind::Histogram => {
            Data::Histogram(Histogram { data_points: histograms(samples, now), aggregation_temporality: CUMULATIVE })
        }
        FamilyKind::Summary | FamilyKind::Untyped => return None,
    })
}

fn number(sample: &Sample, now: u64) -> NumberDataPoint {
    NumberDataPoint {
        time_unix_nano: time(sample, now),
        as_double: Some(sample.value),
        attributes: attributes(&sample.labels),
    }
}

fn time(sample: &Sample, now: u64) -> u64 {
    let millis = sample.timestamp.and_then(|millis| u64::try_from(millis).ok());
    millis.map_or(now, |millis| millis.saturating_mul(1_000_000))
}

fn attributes(labels: &[(String, String)]) -> Vec<KeyValue> {
    let mut attributes: Vec<_> = labels.iter().map(|(name, value)| attribute(name, value)).collect();
    attributes.sort_by(|a, b| a.key.cmp(&b.key));
    attributes
}

/// An upper bound, and how many values are not above it.
type Bucket = (f64, u64);

/// The histograms among the lines: each of its lines has the same labels but for the bound.
fn histograms(samples: &[Sample], now: u64) -> Vec<HistogramDataPoint> {
    let mut points: BTreeMap<Labels, (HistogramDataPoint, Vec<Bucket>)> = BTreeMap::new();
    for sample in samples {
        let mut labels = sample.labels.clone();
        labels.retain(|(name, _)| name != BOUND);
        let (point, buckets) = points.entry(labels).or_default();
        point.time_unix_nano = time(sample, now);
        // Counts are whole numbers, written as any number is.
        let count = sample.value as u64;
        if sample.name.ends_with("_bucket") {
            let bound = sample.label(BOUND).map(|bound| bound.trim_start_matches('+').parse());
            buckets.extend(bound.and_then(Result::ok).map(|bound: f64| (bound, count)));
        } else if sample.name.ends_with("_sum") {
            point.sum = Some(sample.value);
        } else {
            point.count = count;
        }
    }
    let finished = points.into_iter().map(|(labels, (mut point, mut buckets))| {
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut below = 0;
        for (bound, up_to) in buckets {
            point.bucket_counts.push(up_to.saturating_sub(below));
            below = up_to;
            if bound.is_finite() {
                point.explicit_bounds.push(bound);
            }
        }
        point.attributes = attributes(&labels);
        point
    });
    finished.collect()
}
