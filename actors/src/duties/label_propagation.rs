//! Labels that a generated MeshService inherits from its dataplanes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::labels::{PROPAGATED_KEY_PREFIX, is_reserved};
use model::{Labels, Resource};
use sha2::{Digest, Sha256};

use super::settings::LabelPropagation;

/// The labels of a service: those of `existing` that were not inherited and are not reserved, and
/// the value that most dataplanes have of every label that is inherited.
pub(super) fn propagate(existing: &Labels, dataplanes: &[Arc<Resource>], propagation: &LabelPropagation) -> Labels {
    let marked: BTreeSet<&str> = existing.keys().filter_map(|key| key.strip_prefix(PROPAGATED_KEY_PREFIX)).collect();
    let mut labels: Labels = existing
        .iter()
        .filter(|(key, _)| !is_reserved(key) && !marked.contains(mark(key).as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for (key, value) in majority(dataplanes, propagation) {
        labels.insert(format!("{PROPAGATED_KEY_PREFIX}{}", mark(key)), String::new());
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

/// The first 16 hexadecimal digits of the SHA-256 of a key.
fn mark(key: &str) -> String {
    Sha256::digest(key).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Per label the value that most dataplanes have; on a tie that of the newest, then the smallest.
fn majority<'a>(dataplanes: &'a [Arc<Resource>], propagation: &LabelPropagation) -> BTreeMap<&'a str, &'a str> {
    let allowed = &propagation.allowed_keys;
    let mut votes: BTreeMap<&str, BTreeMap<&str, (usize, jiff::Timestamp)>> = BTreeMap::new();
    for dataplane in dataplanes {
        for (key, value) in &dataplane.meta.labels {
            if is_reserved(key) || !(allowed.is_empty() || allowed.contains(key)) {
                continue;
            }
            let vote = votes.entry(key).or_default().entry(value).or_insert((0, dataplane.meta.creation_time));
            vote.0 += 1;
            vote.1 = vote.1.max(dataplane.meta.creation_time);
        }
    }
    let winner = |values: BTreeMap<&'a str, (usize, jiff::Timestamp)>| {
        // Values are visited in order and a later one must be better, so the smallest wins a tie.
        values.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(value, _)| value)
    };
    votes.into_iter().filter_map(|(key, values)| Some((key, winner(values)?))).collect()
}
