//! MeshFaultInjection: faults that are made on purpose.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::duration::GoDuration;
use super::int_or_string::IntOrString;
use super::policy_parts::{self, Rule, To};
use super::registered::{SpecType, plain};
use super::rules::{MUST_BE_DEFINED, MUST_NOT_BE_DEFINED, not_negative, percentage};
use super::target_ref::{self, RefKind, TargetRef};
use crate::codec::Codec;
use crate::schema::{self, Schema};
use crate::violation::Violations;

/// Spec of a MeshFaultInjection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshFaultInjection {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Faults of calls that they make.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<To<Conf>>,
    /// Faults of calls that they take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule<Conf>>,
}

/// Faults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conf {
    /// Faults of HTTP requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Vec<Fault>>,
}

/// Faults of HTTP requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fault {
    /// Requests that are answered at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort: Option<Abort>,
    /// Requests that are held up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Delay>,
    /// Responses that are slowed down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_bandwidth: Option<ResponseBandwidth>,
}

/// Requests that are answered at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Abort {
    /// The status.
    pub http_status: i32,
    /// The share of requests in percent.
    pub percentage: IntOrString,
}

/// Requests that are held up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delay {
    /// For how long.
    pub value: GoDuration,
    /// The share of requests in percent.
    pub percentage: IntOrString,
}

/// Responses that are slowed down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseBandwidth {
    /// To how much: a number with `kbps`, `Mbps` or `Gbps`.
    pub limit: String,
    /// The share of responses in percent.
    pub percentage: IntOrString,
}

impl SpecType for MeshFaultInjection {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let fault = |field: &'static str, schema: Schema| {
                schema::object([(field, schema), ("percentage", schema::int_or_string())])
                    .required(&[field, "percentage"])
            };
            let http = schema::object([
                ("abort", fault("httpStatus", schema::int32())),
                ("delay", fault("value", schema::string())),
                ("responseBandwidth", fault("limit", schema::string())),
            ]);
            let conf = schema::object([("http", schema::array(http))]);
            schema::object([
                ("targetRef", target_ref::top_schema()),
                ("to", policy_parts::to_schema(conf.clone(), &["targetRef"])),
                ("rules", policy_parts::rules_schema(conf, &["default"])),
            ])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        let top = self.target_ref.as_ref();
        target_ref::check_top(faults, top, !self.rules.is_empty());
        for (i, rule) in self.rules.iter().enumerate() {
            for (j, one) in rule.matches.iter().enumerate() {
                faults.nest(&format!("spec.rules[{i}].matches[{j}]"), one.faults());
            }
            faults.nest(&format!("spec.rules[{i}].default"), rule.default.faults());
        }
        if !self.to.is_empty() && !target_ref::is_mesh(top) {
            faults.add("spec.to", MUST_NOT_BE_DEFINED);
        }
        policy_parts::check_to(faults, &self.to, &[RefKind::Mesh], |to| to.default.faults());
    }
}

impl Conf {
    // The index stands after the name of the fault, as in the reference.
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        for (j, fault) in self.http.iter().flatten().enumerate() {
            if let Some(abort) = &fault.abort {
                if !(100..600).contains(&abort.http_status) {
                    faults.add(format!("http.abort[{j}].httpStatus"), "must be in inclusive range [100, 599]");
                }
                percentage(&mut faults, &format!("http.abort[{j}].percentage"), &abort.percentage);
            }
            if let Some(delay) = &fault.delay {
                not_negative(&mut faults, &format!("http.delay[{j}].value"), Some(delay.value));
                percentage(&mut faults, &format!("http.delay[{j}].percentage"), &delay.percentage);
            }
            if let Some(bandwidth) = &fault.response_bandwidth {
                if bandwidth.limit.is_empty() {
                    faults.add(format!("http.responseBandwidth[{j}].limit"), MUST_BE_DEFINED);
                } else if !is_bandwidth(&bandwidth.limit) {
                    faults.add(format!("http.responseBandwidth[{j}].limit"), "must be in kbps/Mbps/Gbps units");
                }
                percentage(&mut faults, &format!("http.responseBandwidth[{j}].percentage"), &bandwidth.percentage);
            }
        }
        faults
    }
}

/// Digits, at most one blank, and a unit; the reference wants neither digits nor a single prefix.
fn is_bandwidth(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = rest.strip_prefix(char::is_whitespace).unwrap_or(rest);
    let prefixes = rest.strip_suffix("bps").unwrap_or_default();
    !prefixes.is_empty() && prefixes.bytes().all(|b| matches!(b, b'G' | b'M' | b'k'))
}

pub(crate) const CODEC: Codec = plain::<MeshFaultInjection>();
