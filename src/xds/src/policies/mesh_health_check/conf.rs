//! The merged conf.

use model::kinds::duration::GoDuration;
use model::kinds::headers::HeaderAdditions;
use serde::Deserialize;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Conf {
    pub(super) interval: Option<GoDuration>,
    pub(super) timeout: Option<GoDuration>,
    pub(super) unhealthy_threshold: Option<u32>,
    pub(super) healthy_threshold: Option<u32>,
    pub(super) initial_jitter: Option<GoDuration>,
    pub(super) interval_jitter: Option<GoDuration>,
    pub(super) interval_jitter_percent: Option<u32>,
    pub(super) no_traffic_interval: Option<GoDuration>,
    pub(super) fail_traffic_on_panic: Option<bool>,
    pub(super) always_log_health_check_failures: Option<bool>,
    pub(super) reuse_connection: Option<bool>,
    pub(super) event_log_path: Option<String>,
    pub(super) tcp: Option<Tcp>,
    pub(super) http: Option<Http>,
    pub(super) grpc: Option<Grpc>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Tcp {
    pub(super) disabled: Option<bool>,
    pub(super) send: Option<String>,
    pub(super) receive: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Http {
    pub(super) disabled: Option<bool>,
    pub(super) path: Option<String>,
    pub(super) request_headers_to_add: Option<HeaderAdditions>,
    pub(super) expected_statuses: Vec<i32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Grpc {
    pub(super) disabled: Option<bool>,
    pub(super) service_name: Option<String>,
    pub(super) authority: Option<String>,
}
