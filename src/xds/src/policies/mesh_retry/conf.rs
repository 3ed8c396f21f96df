//! The merged conf.

use std::collections::BTreeMap;

use model::kinds::duration::GoDuration;
use model::kinds::headers::HeaderMatch;
use serde::Deserialize;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Conf {
    pub(super) tcp: Option<Tcp>,
    pub(super) http: Option<Http>,
    pub(super) grpc: Option<Grpc>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Tcp {
    pub(super) max_connect_attempt: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Http {
    pub(super) num_retries: Option<u32>,
    pub(super) per_try_timeout: Option<GoDuration>,
    pub(super) back_off: Option<BackOff>,
    pub(super) rate_limited_back_off: Option<RateLimitedBackOff>,
    pub(super) retry_on: Vec<String>,
    pub(super) retriable_response_headers: Vec<HeaderMatch>,
    pub(super) retriable_request_headers: Vec<HeaderMatch>,
    pub(super) host_selection: Vec<HostSelection>,
    pub(super) host_selection_max_attempts: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Grpc {
    pub(super) num_retries: Option<u32>,
    pub(super) per_try_timeout: Option<GoDuration>,
    pub(super) back_off: Option<BackOff>,
    pub(super) rate_limited_back_off: Option<RateLimitedBackOff>,
    pub(super) retry_on: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BackOff {
    pub(super) base_interval: Option<GoDuration>,
    pub(super) max_interval: Option<GoDuration>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RateLimitedBackOff {
    pub(super) reset_headers: Vec<ResetHeader>,
    pub(super) max_interval: Option<GoDuration>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct ResetHeader {
    pub(super) name: String,
    pub(super) format: ResetFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum ResetFormat {
    Seconds,
    UnixTimestamp,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HostSelection {
    pub(super) predicate: Omit,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(default = "default_update_frequency")]
    pub(super) update_frequency: i32,
}

/// Which hosts or priorities a retry leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Omit {
    #[serde(rename = "OmitPreviousHosts")]
    PreviousHosts,
    #[serde(rename = "OmitHostsWithTags")]
    HostsWithTags,
    #[serde(rename = "OmitPreviousPriorities")]
    PreviousPriorities,
}

fn default_update_frequency() -> i32 {
    2
}
