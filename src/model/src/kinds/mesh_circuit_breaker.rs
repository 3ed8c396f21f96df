//! MeshCircuitBreaker: limits of connections, and endpoints that are left out for a while.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::duration::GoDuration;
use super::int_or_string::IntOrString;
use super::policy_parts::{self, To};
use super::registered::{SpecType, plain};
use super::rules::{
    GREATER_THAN_0, MUST_BE_DEFINED, PERCENT, TO_OR_RULES, above_zero, at_least_one, percentage, positive,
};
use super::target_ref::{self, TargetRef};
use crate::codec::Codec;
use crate::schema::{self, Schema};
use crate::violation::Violations;

/// Spec of a MeshCircuitBreaker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshCircuitBreaker {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Confs for calls that they make.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<To<Conf>>,
    /// Confs for calls that they take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// A conf for calls that are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// The conf.
    pub default: Conf,
}

/// Limits, and endpoints that are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conf {
    /// Limits of connections and requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_limits: Option<ConnectionLimits>,
    /// Endpoints that are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
}

/// Limits of connections and requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionLimits {
    /// Connections to all endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Connection pools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connection_pools: Option<u32>,
    /// Requests that wait for a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pending_requests: Option<u32>,
    /// Retries at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// Requests at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
}

/// Endpoints that are left out for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// Whether it is switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Time between evaluations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<GoDuration>,
    /// How long an endpoint is left out, times how often it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_ejection_time: Option<GoDuration>,
    /// Greatest share of endpoints that are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ejection_percent: Option<u32>,
    /// Whether faults of the connection count apart from those of responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_external_and_local_errors: Option<bool>,
    /// What makes an endpoint an outlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detectors: Option<Detectors>,
    /// Share of healthy endpoints below which all are used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy_panic_threshold: Option<IntOrString>,
}

/// What makes an endpoint an outlier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Detectors {
    /// Failures of any kind in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_failures: Option<Consecutive>,
    /// Failures of a gateway in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_failures: Option<Consecutive>,
    /// Failures of the connection in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_origin_failures: Option<Consecutive>,
    /// Fewer successes than others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_rate: Option<SuccessRate>,
    /// A share of failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_percentage: Option<FailurePercentage>,
}

/// Failures in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Consecutive {
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive: Option<u32>,
}

/// Fewer successes than others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SuccessRate {
    /// Endpoints that must have been called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_hosts: Option<u32>,
    /// Requests that each of them must have got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_volume: Option<u32>,
    /// Standard deviations below the mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard_deviation_factor: Option<IntOrString>,
}

/// A share of failures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailurePercentage {
    /// Endpoints that must have been called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_hosts: Option<u32>,
    /// Requests that each of them must have got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_volume: Option<u32>,
    /// The share in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u32>,
}

impl SpecType for MeshCircuitBreaker {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let rule = schema::object([("default", conf_schema())]);
            schema::object([
                ("targetRef", target_ref::top_schema()),
                ("to", policy_parts::to_schema(conf_schema(), &["targetRef"])),
                ("rules", schema::array(rule)),
            ])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        target_ref::check_top(faults, self.target_ref.as_ref(), !self.rules.is_empty());
        if self.to.is_empty() && self.rules.is_empty() {
            faults.add("spec", TO_OR_RULES);
        }
        policy_parts::check_to(faults, &self.to, target_ref::MESH_AND_DESTINATIONS, |to| to.default.faults());
        for (i, rule) in self.rules.iter().enumerate() {
            // The reference still says `from` here.
            faults.nest(&format!("spec.from[{i}].default"), rule.default.faults());
        }
    }
}

fn conf_schema() -> Schema {
    let counts = |names: &[&'static str]| schema::object(names.iter().map(|name| (*name, schema::int32())));
    let success_rate = schema::object([
        ("minimumHosts", schema::int32()),
        ("requestVolume", schema::int32()),
        ("standardDeviationFactor", schema::int_or_string()),
    ]);
    let detectors = schema::object([
        ("totalFailures", counts(&["consecutive"])),
        ("gatewayFailures", counts(&["consecutive"])),
        ("localOriginFailures", counts(&["consecutive"])),
        ("successRate", success_rate),
        ("failurePercentage", counts(&["minimumHosts", "requestVolume", "threshold"])),
    ]);
    let outlier_detection = schema::object([
        ("disabled", schema::boolean()),
        ("interval", schema::string()),
        ("baseEjectionTime", schema::string()),
        ("maxEjectionPercent", schema::int32()),
        ("splitExternalAndLocalErrors", schema::boolean()),
        ("detectors", detectors),
        ("healthyPanicThreshold", schema::int_or_string()),
    ]);
    let limits = counts(&["maxConnections", "maxConnectionPools", "maxPendingRequests", "maxRetries", "maxRequests"]);
    schema::object([("connectionLimits", limits), ("outlierDetection", outlier_detection)])
}

impl Conf {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if self.connection_limits.is_none() && self.outlier_detection.is_none() {
            faults.add("", "at least one of: 'connectionLimits' or 'outlierDetection' should be configured");
        }
        if let Some(limits) = &self.connection_limits {
            for (path, limit) in [
                ("connectionLimits.maxConnections", limits.max_connections),
                ("connectionLimits.maxConnectionPools", limits.max_connection_pools),
                ("connectionLimits.maxPendingRequests", limits.max_pending_requests),
                ("connectionLimits.maxRetries", limits.max_retries),
                ("connectionLimits.maxRequests", limits.max_requests),
            ] {
                above_zero(&mut faults, path, limit);
            }
        }
        if let Some(detection) = &self.outlier_detection {
            faults.nest("outlierDetection", detection.faults());
        }
        faults
    }
}

fn at_most_100(faults: &mut Violations, path: &str, share: Option<u32>) {
    if share.is_some_and(|share| share > 100) {
        faults.add(path, PERCENT);
    }
}

impl OutlierDetection {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        positive(&mut faults, "interval", self.interval);
        positive(&mut faults, "baseEjectionTime", self.base_ejection_time);
        at_most_100(&mut faults, "maxEjectionPercent", self.max_ejection_percent);
        if let Some(threshold) = &self.healthy_panic_threshold {
            percentage(&mut faults, "healthyPanicThreshold", threshold);
        }
        match &self.detectors {
            None => faults.add("detectors", MUST_BE_DEFINED),
            Some(detectors) => faults.nest("detectors", detectors.faults()),
        }
        faults
    }
}

impl Detectors {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if *self == Self::default() {
            let names = ["totalFailures", "gatewayFailures", "localOriginFailures", "successRate", "failurePercentage"];
            faults.add("", at_least_one(&names));
        }
        for (path, failures) in [
            ("totalFailures.consecutive", &self.total_failures),
            ("gatewayFailures.consecutive", &self.gateway_failures),
            ("localOriginFailures.consecutive", &self.local_origin_failures),
        ] {
            above_zero(&mut faults, path, failures.as_ref().and_then(|failures| failures.consecutive));
        }
        if let Some(rate) = &self.success_rate {
            above_zero(&mut faults, "successRate.minimumHosts", rate.minimum_hosts);
            above_zero(&mut faults, "successRate.requestVolume", rate.request_volume);
            match rate.standard_deviation_factor.as_ref().map(IntOrString::as_decimal) {
                Some(None) => faults.add("successRate.standardDeviationFactor", "invalid number"),
                Some(Some(factor)) if factor <= 0.0 => {
                    faults.add("successRate.standardDeviationFactor", GREATER_THAN_0);
                }
                None | Some(Some(_)) => {}
            }
        }
        if let Some(share) = &self.failure_percentage {
            above_zero(&mut faults, "failurePercentage.minimumHosts", share.minimum_hosts);
            above_zero(&mut faults, "failurePercentage.requestVolume", share.request_volume);
            at_most_100(&mut faults, "failurePercentage.threshold", share.threshold);
        }
        faults
    }
}

pub(crate) const CODEC: Codec = plain::<MeshCircuitBreaker>();
