//! Clusters of one service as one: Kuma clones a cluster for a route under `<name>-<16 hex digits>`, and
//! whoever reads metrics wants the service.

use std::collections::HashMap;

use super::exposition::{Family, Sample};

/// Label that marks traffic of the mesh.
const MESH_TRAFFIC: &str = "kuma_io_mesh_traffic";
/// The label with what a metric is about, by the beginning of the metric's name; and what of it is the
/// proxy's own.
const SCOPES: [(&str, &str, &[&str]); 2] = [
    (
        "envoy_cluster_",
        "envoy_cluster_name",
        &["system_ads", "system_access_log_sink", "kuma_envoy_admin", "kuma_metrics_hijacker"],
    ),
    ("envoy_http_", "envoy_http_conn_manager_prefix", &["admin", "kuma_envoy_admin", "kuma_metrics_prometheus"]),
];

/// Joins the clones of clusters and marks what is traffic of the mesh.
pub(super) fn merge(families: &mut [Family]) {
    for family in families {
        let Some((_, label, own)) = SCOPES.iter().find(|(prefix, ..)| family.name.starts_with(prefix)) else {
            continue;
        };
        let mut merged: Vec<Sample> = Vec::new();
        let mut places: HashMap<(String, Vec<(String, String)>), usize> = HashMap::new();
        for mut sample in std::mem::take(&mut family.samples) {
            rename(&mut sample, label, own);
            let identity = (sample.name.clone(), sample.labels.clone());
            match places.get(&identity) {
                Some(place) => merged[*place].value += sample.value,
                None => {
                    places.insert(identity, merged.len());
                    merged.push(sample);
                }
            }
        }
        family.samples = merged;
    }
}

fn rename(sample: &mut Sample, label: &str, own: &[&str]) {
    let Some((_, name)) = sample.labels.iter_mut().find(|(key, _)| key == label) else { return };
    if let Some(stem) = stem(name) {
        *name = stem.to_owned();
    }
    if !own.contains(&name.as_str()) {
        sample.labels.push((MESH_TRAFFIC.to_owned(), "true".to_owned()));
    }
}

/// The name of which this is a clone.
fn stem(name: &str) -> Option<&str> {
    let (stem, hash) = name.rsplit_once('-')?;
    (hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())).then_some(stem)
}
