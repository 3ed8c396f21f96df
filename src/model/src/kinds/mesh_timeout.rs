//! MeshTimeout: connection, idle and request timeouts.

use serde::{Deserialize, Serialize};

use super::duration::GoDuration;
use super::matches::{self, Match};
use super::registered::{SpecType, plain};
use super::rules::{NOT_PER_CALLER, TO_OR_RULES, not_negative, positive};
use super::target_ref::{self, TargetRef};
use crate::codec::Codec;
use crate::schema::{self, Schema};
use crate::violation::Violations;
use std::sync::LazyLock;

/// Spec of a MeshTimeout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTimeout {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Timeouts of calls that they make.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<To>,
    /// Timeouts of calls that they take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// Timeouts of calls to a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct To {
    /// The destination.
    pub target_ref: TargetRef,
    /// The timeouts.
    pub default: Conf,
}

/// Timeouts of calls that are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// The calls; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// The timeouts.
    pub default: Conf,
}

/// Timeouts; zero switches one off, absent leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conf {
    /// Until a connection stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_timeout: Option<GoDuration>,
    /// Until an unused connection is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<GoDuration>,
    /// Timeouts of HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
}

/// Timeouts of HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Http {
    /// Of a whole request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<GoDuration>,
    /// Of a stream without activity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_idle_timeout: Option<GoDuration>,
    /// Of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stream_duration: Option<GoDuration>,
    /// Of a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connection_duration: Option<GoDuration>,
    /// Until the headers of a request have arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_headers_timeout: Option<GoDuration>,
}

impl SpecType for MeshTimeout {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let http = schema::object([
                ("requestTimeout", schema::string()),
                ("streamIdleTimeout", schema::string()),
                ("maxStreamDuration", schema::string()),
                ("maxConnectionDuration", schema::string()),
                ("requestHeadersTimeout", schema::string()),
            ]);
            let conf = schema::object([
                ("connectionTimeout", schema::string()),
                ("idleTimeout", schema::string()),
                ("http", http),
            ]);
            let to = schema::object([("targetRef", target_ref::to_schema()), ("default", conf.clone())]);
            let rule = schema::object([("matches", schema::array(matches::schema())), ("default", conf)]);
            schema::object([
                ("targetRef", target_ref::top_schema()),
                ("to", schema::array(to.required(&["targetRef"]))),
                ("rules", schema::array(rule)),
            ])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        target_ref::check_top(faults, self.target_ref.as_ref(), !self.rules.is_empty());
        match (self.to.is_empty(), self.rules.is_empty()) {
            (false, false) => faults.add("spec", "fields 'to' must be empty when 'rules' is defined"),
            (true, true) => faults.add("spec", TO_OR_RULES),
            (true, false) | (false, true) => {}
        }
        for (i, to) in self.to.iter().enumerate() {
            faults.nest(&format!("spec.to[{i}].targetRef"), to.target_ref.faults(target_ref::ALL_TO, false));
            faults.nest(&format!("spec.to[{i}].default"), to.default.faults());
        }
        for (i, rule) in self.rules.iter().enumerate() {
            for (k, one) in rule.matches.iter().enumerate() {
                faults.nest(&format!("spec.rules[{i}].matches[{k}]"), one.strict_faults());
            }
            let path = format!("spec.rules[{i}].default");
            faults.nest(&path, rule.default.faults());
            if rule.matches.iter().any(|one| one.spiffe_id.is_some()) {
                faults.nest(&path, rule.default.per_caller_faults());
            }
        }
    }
}

impl Conf {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if self.connection_timeout.is_none() && self.idle_timeout.is_none() && self.http.is_none() {
            faults.add("", "at least one timeout should be configured");
        }
        positive(&mut faults, "connectionTimeout", self.connection_timeout);
        not_negative(&mut faults, "idleTimeout", self.idle_timeout);
        if let Some(http) = &self.http {
            faults.nest("http", http.faults());
        }
        faults
    }

    /// Timeouts that hold for a connection cannot depend on who calls.
    fn per_caller_faults(&self) -> Violations {
        let mut faults = Violations::new();
        let http = self.http.as_ref();
        for (path, span) in [
            ("connectionTimeout", self.connection_timeout),
            ("idleTimeout", self.idle_timeout),
            ("http.requestHeadersTimeout", http.and_then(|http| http.request_headers_timeout)),
            ("http.maxStreamDuration", http.and_then(|http| http.max_stream_duration)),
            ("http.maxConnectionDuration", http.and_then(|http| http.max_connection_duration)),
        ] {
            if span.is_some() {
                faults.add(path, NOT_PER_CALLER);
            }
        }
        faults
    }
}

impl Http {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        // The reference does not count requestHeadersTimeout.
        let counted =
            [self.request_timeout, self.stream_idle_timeout, self.max_stream_duration, self.max_connection_duration];
        if counted.iter().all(Option::is_none) {
            faults.add("", "at least one timeout in this section should be configured");
        }
        for (path, span) in [
            ("requestTimeout", self.request_timeout),
            ("streamIdleTimeout", self.stream_idle_timeout),
            ("maxStreamDuration", self.max_stream_duration),
            ("maxConnectionDuration", self.max_connection_duration),
            ("requestHeadersTimeout", self.request_headers_timeout),
        ] {
            not_negative(&mut faults, path, span);
        }
        faults
    }
}

pub(crate) const CODEC: Codec = plain::<MeshTimeout>();
