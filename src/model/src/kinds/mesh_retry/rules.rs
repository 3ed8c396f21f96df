//! Schema and rules of MeshRetry.

use std::sync::LazyLock;

use super::{
    BackOff, Conf, Grpc, GrpcRetryOn, HostPredicate, HostSelection, Http, MeshRetry, RateLimitedBackOff, ResetFormat,
    Tcp,
};
use crate::kinds::headers;
use crate::kinds::policy_parts;
use crate::kinds::registered::SpecType;
use crate::kinds::rules::{GREATER_THAN_0, MUST_BE_DEFINED, MUST_NOT_BE_EMPTY};
use crate::kinds::target_ref;
use crate::schema::{self, Schema};
use crate::violation::Violations;

const NOT_POSITIVE: &str = "must be defined and greater than zero";

/// Conditions of HTTP that stand for Envoy's or for a method.
const HTTP_RETRY_ON: &[&str] = &[
    "5xx",
    "GatewayError",
    "Reset",
    "Retriable4xx",
    "ConnectFailure",
    "EnvoyRatelimited",
    "RefusedStream",
    "Http3PostConnectFailure",
    "HttpMethodConnect",
    "HttpMethodDelete",
    "HttpMethodGet",
    "HttpMethodHead",
    "HttpMethodOptions",
    "HttpMethodPatch",
    "HttpMethodPost",
    "HttpMethodPut",
    "HttpMethodTrace",
];

/// Whether an item of `retryOn` is a condition or a registered status code.
fn is_http_retry_on(item: &str) -> bool {
    HTTP_RETRY_ON.contains(&item) || item.parse().is_ok_and(is_registered_status)
}

fn is_registered_status(status: u16) -> bool {
    matches!(
        status,
        100..=103 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=418 | 421..=426 | 428 | 429 | 431 | 451 | 500..=508
            | 510 | 511
    )
}

impl SpecType for MeshRetry {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let tcp = schema::object([("maxConnectAttempt", schema::int32())]);
            let mut http = shared_schema(schema::string());
            http.extend([
                ("retriableResponseHeaders", schema::array(headers::match_schema())),
                ("retriableRequestHeaders", schema::array(headers::match_schema())),
                ("hostSelection", schema::array(host_selection_schema())),
                ("hostSelectionMaxAttempts", schema::int64()),
            ]);
            let grpc = shared_schema(schema::choice(GrpcRetryOn::TEXTS));
            let conf = schema::object([("tcp", tcp), ("http", schema::object(http)), ("grpc", schema::object(grpc))]);
            schema::object([
                ("targetRef", target_ref::top_schema()),
                ("to", policy_parts::to_schema(conf, &["targetRef"])),
            ])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        target_ref::check_top(faults, self.target_ref.as_ref(), false);
        policy_parts::check_to(faults, &self.to, target_ref::ALL_TO, |to| {
            // The reference has one segment too many here.
            let mut faults = Violations::new();
            faults.nest("conf", to.default.faults());
            faults
        });
    }
}

/// The fields that HTTP and gRPC have in common.
fn shared_schema(retry_on: Schema) -> Vec<(&'static str, Schema)> {
    let back_off = schema::object([("baseInterval", schema::string()), ("maxInterval", schema::string())]);
    let reset_header =
        schema::object([("name", headers::name_schema()), ("format", schema::choice(ResetFormat::TEXTS))]);
    let rate_limited = schema::object([
        ("resetHeaders", schema::array(reset_header.required(&["format", "name"]))),
        ("maxInterval", schema::string()),
    ]);
    vec![
        ("numRetries", schema::int32()),
        ("perTryTimeout", schema::string()),
        ("backOff", back_off),
        ("rateLimitedBackOff", rate_limited),
        ("retryOn", schema::array(retry_on)),
    ]
}

fn host_selection_schema() -> Schema {
    schema::object([
        ("predicate", schema::choice(HostPredicate::TEXTS)),
        ("tags", schema::map(schema::string())),
        ("updateFrequency", schema::int32().default_to(2)),
    ])
    .required(&["predicate"])
}

impl Conf {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if self.tcp.is_none() && self.http.is_none() && self.grpc.is_none() {
            faults.add("", "at least one of the 'tcp', 'http', 'grpc' must be specified");
        }
        match &self.tcp {
            Some(Tcp { max_connect_attempt: None }) => faults.add("tcp", MUST_NOT_BE_EMPTY),
            Some(Tcp { max_connect_attempt: Some(0) }) => faults.add("tcp.maxConnectAttempt", GREATER_THAN_0),
            None | Some(_) => {}
        }
        if let Some(http) = &self.http {
            faults.nest("http", http.faults());
        }
        if let Some(grpc) = &self.grpc {
            faults.nest("grpc", grpc.faults());
        }
        faults
    }
}

fn back_off_faults(back_off: Option<&BackOff>, rate_limited: Option<&RateLimitedBackOff>) -> Violations {
    let mut faults = Violations::new();
    if back_off.is_some_and(|back_off| *back_off == BackOff::default()) {
        faults.add("backOff", MUST_NOT_BE_EMPTY);
    }
    if let Some(rate_limited) = rate_limited {
        if rate_limited.max_interval.is_some_and(|interval| interval.nanos <= 0) {
            faults.add("rateLimitedBackOff.maxInterval", NOT_POSITIVE);
        }
        match &rate_limited.reset_headers {
            None => faults.add("rateLimitedBackOff.resetHeaders", MUST_BE_DEFINED),
            Some(headers) => {
                for (n, _) in headers.iter().enumerate().filter(|(_, header)| header.name.is_empty()) {
                    faults.add(format!("rateLimitedBackOff.resetHeaders[{n}].name"), MUST_BE_DEFINED);
                }
            }
        }
    }
    faults
}

impl Http {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        // The reference does not count hostSelectionMaxAttempts.
        if (Self { host_selection_max_attempts: None, ..self.clone() }) == Self::default() {
            faults.add("", MUST_NOT_BE_EMPTY);
        }
        faults.append(back_off_faults(self.back_off.as_ref(), self.rate_limited_back_off.as_ref()));
        for (n, item) in self.retry_on.iter().flatten().enumerate().filter(|(_, item)| !is_http_retry_on(item)) {
            faults.add(format!("retryOn[{n}]"), format!("unknown item '{item}'"));
        }
        let mut priorities = 0;
        for (n, selection) in self.host_selection.iter().flatten().enumerate() {
            let path = format!("hostSelection[{n}]");
            if selection.predicate == HostPredicate::OmitPreviousPriorities {
                priorities += 1;
                if priorities > 1 {
                    faults.add(format!("{path}.predicate"), "OmitPreviousPriorities must only be specified once");
                }
            }
            faults.nest(&path, selection.faults());
        }
        faults
    }
}

impl HostSelection {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        match &self.predicate {
            HostPredicate::OmitPreviousHosts => {}
            HostPredicate::OmitHostsWithTags if self.tags.is_none() => faults.add("tags", MUST_BE_DEFINED),
            HostPredicate::OmitHostsWithTags => {}
            HostPredicate::OmitPreviousPriorities => {
                if self.update_frequency.is_some_and(|frequency| frequency <= 0) {
                    faults.add("updateFrequency", NOT_POSITIVE);
                }
            }
            HostPredicate::Unknown(text) => faults.add("predicate", format!("unknown predicate type '{text}'")),
        }
        faults
    }
}

impl Grpc {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if *self == Self::default() {
            faults.add("", MUST_NOT_BE_EMPTY);
        }
        faults.append(back_off_faults(self.back_off.as_ref(), self.rate_limited_back_off.as_ref()));
        for (n, item) in self.retry_on.iter().flatten().enumerate().filter(|(_, item)| !item.is_known()) {
            faults.add(format!("retryOn[{n}]"), format!("unknown item '{item}'"));
        }
        faults
    }
}
