//! From what was scraped to what is told. Kuma sends metrics through OpenTelemetry's model and back;
//! this leaves the same names, types and labels behind.

use std::collections::{BTreeMap, HashMap};

use super::exposition::{Family, FamilyKind, Sample};

const SCOPE_NAME: &str = "otel_scope_name";
const SCOPE_VERSION: &str = "otel_scope_version";
const QUANTILE: &str = "quantile";

/// The families that are told, each once, with the labels that every sample gets.
pub(super) fn convert(scraped: Vec<Family>, extra_labels: &BTreeMap<String, String>, version: &str) -> Vec<Family> {
    let mut told: Vec<Family> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for mut family in scraped.into_iter().flat_map(split) {
        family.samples.iter_mut().for_each(|sample| label(sample, extra_labels, version));
        match places.get(&family.name) {
            None => {
                places.insert(family.name.clone(), told.len());
                told.push(family);
            }
            // A name with two types cannot be told; the first counts.
            Some(place) if told[*place].kind == family.kind => told[*place].samples.append(&mut family.samples),
            Some(_) => tracing::debug!(metric = family.name, "left out: the name has another type already"),
        }
    }
    told
}

/// A summary is a gauge of quantiles and two counters; what has no type is not told.
fn split(family: Family) -> Vec<Family> {
    match family.kind {
        FamilyKind::Untyped => Vec::new(),
        FamilyKind::Counter | FamilyKind::Gauge | FamilyKind::Histogram => vec![family],
        FamilyKind::Summary => {
            let Family { name, help, samples, .. } = family;
            let (quantiles, rest): (Vec<_>, Vec<_>) =
                samples.into_iter().partition(|sample| sample.name == name && sample.label(QUANTILE).is_some());
            let counter = |suffix: &str| {
                let name = format!("{name}{suffix}");
                let samples = rest.iter().filter(|sample| sample.name == name).cloned().collect();
                Family { name, help: help.clone(), kind: FamilyKind::Counter, samples }
            };
            let counters = [counter("_count"), counter("_sum")];
            let gauge = Family { name, help: help.clone(), kind: FamilyKind::Gauge, samples: quantiles };
            let parts = std::iter::once(gauge).chain(counters);
            parts.filter(|part| !part.samples.is_empty()).collect()
        }
    }
}

/// Adds the scope and the labels of the proxy; a label that the sample has already stays.
fn label(sample: &mut Sample, extra_labels: &BTreeMap<String, String>, version: &str) {
    if !sample.labels.iter().any(|(name, _)| name.starts_with("otel_scope_")) {
        sample.labels.push((SCOPE_NAME.to_owned(), "kuma".to_owned()));
        sample.labels.push((SCOPE_VERSION.to_owned(), version.to_owned()));
    }
    for (name, value) in extra_labels {
        let name = underscored(name);
        if sample.label(&name).is_none() {
            sample.labels.push((name, value.clone()));
        }
    }
}

/// The name with what Prometheus does not allow in labels replaced.
fn underscored(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}
