//! MeshHealthCheck: active checks of endpoints.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::duration::GoDuration;
use super::headers::{self, HeaderAdditions};
use super::policy_parts::{self, To};
use super::registered::{SpecType, plain};
use super::rules::{MUST_BE_DEFINED, PERCENT, POSITIVE_WHEN_DEFINED, at_least_one, is_file_path, positive};
use super::target_ref::{self, TargetRef};
use crate::codec::Codec;
use crate::schema::{self, Schema};
use crate::violation::Violations;

/// Spec of a MeshHealthCheck.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshHealthCheck {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Confs by destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<To<Conf>>,
}

/// How endpoints are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conf {
    /// Time between checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<GoDuration>,
    /// Time until a check has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<GoDuration>,
    /// Failures until an endpoint is unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy_threshold: Option<i32>,
    /// Successes until an endpoint is healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy_threshold: Option<i32>,
    /// Greatest delay of the first check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_jitter: Option<GoDuration>,
    /// Greatest delay of each check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_jitter: Option<GoDuration>,
    /// Greatest delay of each check as a share of the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_jitter_percent: Option<i32>,
    /// Whether requests fail when too few endpoints are healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_traffic_on_panic: Option<bool>,
    /// File for events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_log_path: Option<String>,
    /// Whether every failure is logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub always_log_health_check_failures: Option<bool>,
    /// Time between checks of destinations that were never called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_traffic_interval: Option<GoDuration>,
    /// Checks of TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Tcp>,
    /// Checks of HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// Checks of gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Grpc>,
    /// Whether checks share a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse_connection: Option<bool>,
}

/// Checks of TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tcp {
    /// Whether they are switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// What is sent, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// What must come back, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive: Option<Vec<String>>,
}

/// Checks of HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Http {
    /// Whether they are switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// The path; absent means `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Headers of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_headers_to_add: Option<HeaderAdditions>,
    /// Statuses that count as healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_statuses: Option<Vec<i32>>,
}

/// Checks of gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Grpc {
    /// Whether they are switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// The service that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// The authority of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

impl SpecType for MeshHealthCheck {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            schema::object([
                ("targetRef", target_ref::top_schema()),
                ("to", policy_parts::to_schema(conf_schema(), &["targetRef"])),
            ])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        target_ref::check_top(faults, self.target_ref.as_ref(), false);
        policy_parts::check_to(faults, &self.to, target_ref::MESH_AND_DESTINATIONS, |to| to.default.faults());
    }
}

fn conf_schema() -> Schema {
    let tcp = schema::object([
        ("disabled", schema::boolean()),
        ("send", schema::string()),
        ("receive", schema::array(schema::string())),
    ]);
    let http = schema::object([
        ("disabled", schema::boolean()),
        ("path", schema::string()),
        ("requestHeadersToAdd", headers::additions_schema()),
        ("expectedStatuses", schema::array(schema::int32())),
    ]);
    let grpc = schema::object([
        ("disabled", schema::boolean()),
        ("serviceName", schema::string()),
        ("authority", schema::string()),
    ]);
    schema::object([
        ("interval", schema::string()),
        ("timeout", schema::string()),
        ("unhealthyThreshold", schema::int32()),
        ("healthyThreshold", schema::int32()),
        ("initialJitter", schema::string()),
        ("intervalJitter", schema::string()),
        ("intervalJitterPercent", schema::int32()),
        ("failTrafficOnPanic", schema::boolean()),
        ("eventLogPath", schema::string()),
        ("alwaysLogHealthCheckFailures", schema::boolean()),
        ("noTrafficInterval", schema::string()),
        ("tcp", tcp),
        ("http", http),
        ("grpc", grpc),
        ("reuseConnection", schema::boolean()),
    ])
}

impl Conf {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        for (path, span) in [
            ("interval", self.interval),
            ("timeout", self.timeout),
            ("initialJitter", self.initial_jitter),
            ("intervalJitter", self.interval_jitter),
            ("noTrafficInterval", self.no_traffic_interval),
        ] {
            positive(&mut faults, path, span);
        }
        for (path, count) in
            [("unhealthyThreshold", self.unhealthy_threshold), ("healthyThreshold", self.healthy_threshold)]
        {
            if count.is_some_and(|count| count <= 0) {
                faults.add(path, POSITIVE_WHEN_DEFINED);
            }
        }
        if self.interval_jitter_percent.is_some_and(|share| !(0..=100).contains(&share)) {
            faults.add("intervalJitterPercent", PERCENT);
        }
        if self.event_log_path.as_ref().is_some_and(|path| !is_file_path(path)) {
            faults.add("eventLogPath", "must be a valid path when defined");
        }
        if self.http.is_none() && self.tcp.is_none() && self.grpc.is_none() {
            faults.add("", at_least_one(&["http", "tcp", "grpc"]));
        }
        if let Some(http) = &self.http {
            if http.path.as_deref() == Some("") {
                faults.add("http.path", MUST_BE_DEFINED);
            }
            for (n, status) in http.expected_statuses.iter().flatten().enumerate() {
                if !(100..600).contains(status) {
                    faults.add(format!("http.expectedStatuses[{n}]"), "must be in inclusive range [100, 599]");
                }
            }
        }
        faults
    }
}

pub(crate) const CODEC: Codec = plain::<MeshHealthCheck>();
