//! MeshRateLimit: how many requests and connections a proxy takes.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::duration::GoDuration;
use super::headers::{self, HeaderAdditions};
use super::policy_parts::{self, Rule, To};
use super::registered::{SpecType, plain};
use super::rules::{MUST_BE_DEFINED, MUST_NOT_BE_DEFINED, NOT_PER_CALLER, TO_OR_RULES, above_zero, at_least_one};
use super::target_ref::{self, RefKind, TargetRef};
use crate::codec::{Codec, Document};
use crate::schema::{self, Schema};
use crate::violation::Violations;

/// Spec of a MeshRateLimit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshRateLimit {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Limits of calls that they make.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<To<Conf>>,
    /// Limits of calls that they take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule<Conf>>,
}

/// Limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conf {
    /// Limits that each proxy counts for itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<Local>,
}

/// Limits that each proxy counts for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Local {
    /// Of HTTP requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<LocalHttp>,
    /// Of connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<LocalTcp>,
}

/// A limit of HTTP requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalHttp {
    /// Whether it is switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_rate: Option<Rate>,
    /// The answer to those above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_rate_limit: Option<OnRateLimit>,
}

/// A limit of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalTcp {
    /// Whether it is switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// How many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_rate: Option<Rate>,
}

/// A number in a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rate {
    /// The number.
    pub num: u32,
    /// The time.
    pub interval: GoDuration,
}

/// The answer to requests above the limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OnRateLimit {
    /// Its status; absent means 429.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
    /// Its headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeaderAdditions>,
}

impl SpecType for MeshRateLimit {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let rate = schema::object([("num", schema::int32()), ("interval", schema::string())])
                .required(&["interval", "num"]);
            let answer = schema::object([("status", schema::int32()), ("headers", headers::additions_schema())]);
            let http = schema::object([
                ("disabled", schema::boolean()),
                ("requestRate", rate.clone()),
                ("onRateLimit", answer),
            ]);
            let tcp = schema::object([("disabled", schema::boolean()), ("connectionRate", rate)]);
            let conf = schema::object([("local", schema::object([("http", http), ("tcp", tcp)]))]);
            schema::object([
                ("targetRef", target_ref::top_schema()),
                ("to", policy_parts::to_schema(conf.clone(), &["targetRef"])),
                ("rules", policy_parts::rules_schema(conf, &[])),
            ])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        let top = self.target_ref.as_ref();
        target_ref::check_top(faults, top, !self.rules.is_empty());
        match (self.to.is_empty(), self.rules.is_empty()) {
            (false, false) => faults.add("spec", "field 'to' must be empty when 'rules' is defined"),
            (true, true) => faults.add("spec", TO_OR_RULES),
            (true, false) | (false, true) => {}
        }
        if !self.rules.is_empty() && target_ref::is_mesh(top) {
            faults.add("spec.rules", MUST_NOT_BE_DEFINED);
        }
        for (i, rule) in self.rules.iter().enumerate() {
            for (j, one) in rule.matches.iter().enumerate() {
                faults.nest(&format!("spec.rules[{i}].matches[{j}]"), one.strict_faults());
            }
            let by_caller = rule.matches.iter().any(|one| one.spiffe_id.is_some());
            if by_caller && rule.default.local.as_ref().is_some_and(|local| local.tcp.is_some()) {
                faults.add(format!("spec.rules[{i}].default.local.tcp"), NOT_PER_CALLER);
            }
            faults.nest(&format!("spec.rules[{i}].default"), rule.default.faults());
        }
        if !self.to.is_empty() && !target_ref::is_mesh(top) {
            faults.add("spec.to", MUST_NOT_BE_DEFINED);
        }
        policy_parts::check_to(faults, &self.to, &[RefKind::Mesh], |to| to.default.faults());
    }

    fn warnings(&self, _document: &Document<'_>) -> Vec<String> {
        let of_rules = self.rules.iter().enumerate().map(|(i, rule)| (format!("rules[{i}]"), &rule.default));
        let of_to = self.to.iter().enumerate().map(|(i, to)| (format!("to[{i}]"), &to.default));
        of_rules
            .chain(of_to)
            .filter(|(_, conf)| conf.status().is_some_and(|status| status < 400))
            .map(|(path, _)| {
                format!(
                    "'spec.{path}.default.local.http.requestRate.status' must be 400 or higher. Please update your configuration."
                )
            })
            .collect()
    }
}

impl Conf {
    fn status(&self) -> Option<u32> {
        self.local.as_ref()?.http.as_ref()?.on_rate_limit.as_ref()?.status
    }

    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        let Some(local) = &self.local else {
            faults.add("local", MUST_BE_DEFINED);
            return faults;
        };
        if local.http.is_none() && local.tcp.is_none() {
            faults.add("local", at_least_one(&["tcp", "http"]));
        }
        if let Some(http) = &local.http {
            if *http == LocalHttp::default() {
                faults.add("local.http", at_least_one(&["disabled", "requestRate", "onRateLimit"]));
            }
            check_rate(&mut faults, "local.http.requestRate", http.request_rate);
            let status = http.on_rate_limit.as_ref().and_then(|answer| answer.status);
            above_zero(&mut faults, "local.http.onRateLimit.status", status);
        }
        if let Some(tcp) = &local.tcp {
            if *tcp == LocalTcp::default() {
                faults.add("local.tcp", at_least_one(&["disabled", "connectionRate"]));
            }
            check_rate(&mut faults, "local.tcp.connectionRate", tcp.connection_rate);
        }
        faults
    }
}

fn check_rate(faults: &mut Violations, path: &str, rate: Option<Rate>) {
    /// Envoy refills its buckets no faster.
    const INTERVAL_MIN: GoDuration = GoDuration::from_millis(50);
    if let Some(rate) = rate {
        above_zero(faults, &format!("{path}.num"), Some(rate.num));
        if rate.interval <= INTERVAL_MIN {
            faults.add(format!("{path}.interval"), "must be greater than: 50ms");
        }
    }
}

pub(crate) const CODEC: Codec = plain::<MeshRateLimit>();
