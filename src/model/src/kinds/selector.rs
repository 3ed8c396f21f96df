//! Label selectors of destinations, identities and hostname generators.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::meta::Labels;

/// `matchLabels`: every pair must be present and equal; none at all matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// The pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_labels: Option<BTreeMap<String, String>>,
}

impl LabelSelector {
    /// Whether `labels` have all pairs.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// The number of pairs; the more, the more specific.
    pub fn len(&self) -> usize {
        self.match_labels.as_ref().map_or(0, BTreeMap::len)
    }

    /// Whether there are no pairs, so that it matches everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
