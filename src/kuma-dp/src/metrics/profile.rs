//! Profiles: which of Envoy's many metrics are told.

use regex::Regex;
use serde::Deserialize;

use super::exposition::Family;

/// `sidecar` of a MeshMetric.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Sidecar {
    profiles: Option<Profiles>,
    /// Whether metrics that were never updated are told as well.
    pub(super) include_unused: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Profiles {
    append_profiles: Option<Vec<Named>>,
    exclude: Option<Vec<Selector>>,
    include: Option<Vec<Selector>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Named {
    name: Profile,
}

/// A predefined selection; a later one is wider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Profile {
    None,
    Basic,
    All,
}

#[derive(Clone, Debug, Deserialize)]
struct Selector {
    #[serde(rename = "type")]
    kind: SelectorKind,
    #[serde(rename = "match")]
    text: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum SelectorKind {
    Prefix,
    Regex,
    Exact,
    Contains,
}

/// Parts of names that Basic selects.
const BASIC_PARTS: [&str; 29] = [
    "rq_time",
    "cx_length_ms",
    "cx_count",
    "_rq",
    "bytes",
    "timeout",
    "health_check",
    "lb_healthy_panic",
    "cx_destroy",
    "error",
    "fail",
    "reset",
    "eject",
    "overflow",
    "cancelled",
    "max_duration_reached",
    "no_cluster",
    "no_route",
    "no_filter_chain",
    "reject",
    "denied",
    "days_until_first_cert_expiring",
    "rbac",
    "cx_active",
    "cx_connect",
    "circuit_breakers",
    "cx_total",
    "ssl_handshake",
    "ssl_context_update_by_sds",
];
const BASIC_PREFIXES: [&str; 5] =
    ["envoy_server", "envoy_control_plane", "envoy_dns_filter", "envoy_dns_cares", "kuma_dp_dns"];
const BASIC_NAMES: [&str; 4] = [
    "envoy_cluster_membership_degraded",
    "envoy_cluster_membership_healthy",
    "envoy_cluster_ssl_handshake",
    "envoy_cluster_membership_total",
];

/// Labels that name a part of the proxy.
const PART_LABELS: [&str; 3] = ["envoy_cluster_name", "envoy_http_conn_manager_prefix", "envoy_listener_address"];
/// Beginnings of the names of internal parts.
const INTERNAL_PREFIXES: [&str; 3] = ["system_", "_", "_kuma:metrics:opentelemetry"];
/// Internal parts of older versions.
const INTERNAL_NAMES: [&str; 4] = ["ads_cluster", "access_log_sink", "kuma:envoy:admin", "kuma:metrics:hijacker"];

/// A selection, ready to be used on every scrape.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    profile: Profile,
    exclude: Vec<Matcher>,
    include: Vec<Matcher>,
}

impl Selection {
    /// The selection of a MeshMetric. A regular expression that cannot be read matches nothing; the
    /// control plane has refused it.
    pub(super) fn of(sidecar: &Sidecar) -> Self {
        let profiles = sidecar.profiles.clone().unwrap_or_default();
        let named = profiles.append_profiles.unwrap_or_default();
        let matchers = |selectors: Option<Vec<Selector>>| {
            selectors.unwrap_or_default().into_iter().filter_map(Matcher::of).collect::<Vec<_>>()
        };
        Self {
            profile: named.iter().map(|named| named.name).max().unwrap_or(Profile::Basic),
            exclude: matchers(profiles.exclude),
            include: matchers(profiles.include),
        }
    }

    /// What of Envoy's metrics is told.
    pub(super) fn apply(&self, families: Vec<Family>) -> Vec<Family> {
        let mut selected: Vec<_> = families.into_iter().filter(|family| self.selects(&family.name)).collect();
        if self.profile == Profile::Basic {
            for family in &mut selected {
                family
                    .samples
                    .retain(|sample| !PART_LABELS.iter().filter_map(|label| sample.label(label)).any(is_internal));
            }
            selected.retain(|family| !family.samples.is_empty());
        }
        selected
    }

    fn selects(&self, name: &str) -> bool {
        let by_profile = match self.profile {
            Profile::All => true,
            Profile::Basic => is_basic(name),
            Profile::None => false,
        };
        let matches = |matchers: &[Matcher]| matchers.iter().any(|matcher| matcher.matches(name));
        by_profile && !matches(&self.exclude) || matches(&self.include)
    }
}

fn is_basic(name: &str) -> bool {
    BASIC_PARTS.iter().any(|part| name.contains(part))
        || BASIC_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || BASIC_NAMES.contains(&name)
}

fn is_internal(part: &str) -> bool {
    INTERNAL_PREFIXES.iter().any(|prefix| part.starts_with(prefix)) || INTERNAL_NAMES.contains(&part)
}

#[derive(Clone, Debug)]
enum Matcher {
    Prefix(String),
    Regex(Regex),
    Exact(String),
    Contains(String),
}

impl Matcher {
    fn of(selector: Selector) -> Option<Self> {
        Some(match selector.kind {
            SelectorKind::Prefix => Self::Prefix(selector.text),
            SelectorKind::Regex => Self::Regex(Regex::new(&selector.text).ok()?),
            SelectorKind::Exact => Self::Exact(selector.text),
            SelectorKind::Contains => Self::Contains(selector.text),
        })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Prefix(prefix) => name.starts_with(prefix),
            Self::Regex(regex) => regex.is_match(name),
            Self::Exact(exact) => name == exact,
            Self::Contains(part) => name.contains(part),
        }
    }
}
