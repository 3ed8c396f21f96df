//! From a conf to Envoy's retry policy.

use std::time::Duration;

use super::super::mesh_http_route::matches::{header, header_matcher, string};
use super::conf::{BackOff, Grpc, HostSelection, Http, Omit, RateLimitedBackOff, ResetFormat};
use crate::envoy::core::Metadata;
use crate::envoy::matcher::string_matcher::MatchPattern;
use crate::envoy::route::header_matcher::HeaderMatchSpecifier;
use crate::envoy::route::retry_policy::{
    RateLimitedRetryBackOff, ResetHeader, ResetHeaderFormat, RetryBackOff, RetryHostPredicate, RetryPriority,
    retry_host_predicate, retry_priority,
};
use crate::envoy::route::{HeaderMatcher, RetryPolicy};
use crate::envoy::{UInt32Value, duration, pack, string_struct};
use envoy_types::pb::envoy::extensions::retry::host::omit_host_metadata::v3::OmitHostMetadataConfig;
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;

const HTTP_RETRY_ON: &str = "gateway-error,connect-failure,refused-stream";
const GRPC_RETRY_ON: &str =
    "cancelled,connect-failure,gateway-error,refused-stream,reset,resource-exhausted,unavailable";
/// Envoy refuses a back-off without a base.
const BASE_INTERVAL: Duration = Duration::from_millis(25);

/// The policy for HTTP; `None` when nothing shall be tried again.
pub(super) fn http(conf: &Http) -> Option<RetryPolicy> {
    let mut policy = base(conf.num_retries, conf.back_off.as_ref(), conf.rate_limited_back_off.as_ref())?;
    policy.per_try_timeout = conf.per_try_timeout.map(|timeout| duration(timeout.to_std()));
    let mut conditions = Vec::new();
    for item in &conf.retry_on {
        match condition(item) {
            Some(Condition::Named(name)) => conditions.push(name),
            Some(Condition::Method(method)) => policy.retriable_request_headers.push(method),
            Some(Condition::Status(status)) => policy.retriable_status_codes.push(status),
            None => {}
        }
    }
    policy.retry_on = if conditions.is_empty() { HTTP_RETRY_ON.to_owned() } else { conditions.join(",") };
    if !policy.retriable_status_codes.is_empty() {
        policy.retry_on.push_str(",retriable-status-codes");
    }
    policy.retriable_request_headers.extend(conf.retriable_request_headers.iter().filter_map(header_matcher));
    policy.retriable_headers = conf.retriable_response_headers.iter().filter_map(header_matcher).collect();
    conf.host_selection.iter().for_each(|selection| select_hosts(&mut policy, selection));
    policy.host_selection_retry_max_attempts = conf.host_selection_max_attempts.unwrap_or_default();
    Some(policy)
}

/// The policy for gRPC; `None` when nothing shall be tried again.
pub(super) fn grpc(conf: &Grpc) -> Option<RetryPolicy> {
    let mut policy = base(conf.num_retries, conf.back_off.as_ref(), conf.rate_limited_back_off.as_ref())?;
    policy.per_try_timeout = conf.per_try_timeout.map(|timeout| duration(timeout.to_std()));
    let conditions: Vec<_> = conf.retry_on.iter().filter_map(|item| grpc_condition(item)).collect();
    policy.retry_on = if conditions.is_empty() { GRPC_RETRY_ON.to_owned() } else { conditions.join(",") };
    Some(policy)
}

fn base(
    num_retries: Option<u32>,
    back_off: Option<&BackOff>,
    rate_limited: Option<&RateLimitedBackOff>,
) -> Option<RetryPolicy> {
    if num_retries == Some(0) {
        return None;
    }
    Some(RetryPolicy {
        num_retries: num_retries.map(|value| UInt32Value { value }),
        retry_back_off: back_off.map(|back_off| RetryBackOff {
            base_interval: Some(duration(back_off.base_interval.map_or(BASE_INTERVAL, |base| base.to_std()))),
            max_interval: back_off.max_interval.map(|max| duration(max.to_std())),
        }),
        rate_limited_retry_back_off: rate_limited.map(|back_off| RateLimitedRetryBackOff {
            reset_headers: back_off
                .reset_headers
                .iter()
                .map(|header| ResetHeader {
                    name: header.name.clone(),
                    format: i32::from(match header.format {
                        ResetFormat::Seconds => ResetHeaderFormat::Seconds,
                        ResetFormat::UnixTimestamp => ResetHeaderFormat::UnixTimestamp,
                    }),
                })
                .collect(),
            max_interval: back_off.max_interval.map(|max| duration(max.to_std())),
        }),
        ..Default::default()
    })
}

/// What an item of `retryOn` means to Envoy.
enum Condition {
    Named(&'static str),
    Method(HeaderMatcher),
    Status(u32),
}

fn condition(item: &str) -> Option<Condition> {
    let name = match item {
        "5xx" => "5xx",
        "GatewayError" => "gateway-error",
        "Reset" => "reset",
        "Retriable4xx" => "retriable-4xx",
        "ConnectFailure" => "connect-failure",
        "EnvoyRatelimited" => "envoy-ratelimited",
        "RefusedStream" => "refused-stream",
        "Http3PostConnectFailure" => "http3-post-connect-failure",
        other => {
            if let Some(method) = other.strip_prefix("HttpMethod") {
                let exact = string(MatchPattern::Exact(method.to_ascii_uppercase()));
                return Some(Condition::Method(header(":method", HeaderMatchSpecifier::StringMatch(exact))));
            }
            return other.parse().ok().filter(|status| (100..600).contains(status)).map(Condition::Status);
        }
    };
    Some(Condition::Named(name))
}

/// Envoy spells the first one with two l; with one it would ignore it.
fn grpc_condition(item: &str) -> Option<&'static str> {
    match item {
        "Canceled" => Some("cancelled"),
        "DeadlineExceeded" => Some("deadline-exceeded"),
        "Internal" => Some("internal"),
        "ResourceExhausted" => Some("resource-exhausted"),
        "Unavailable" => Some("unavailable"),
        _ => None,
    }
}

fn select_hosts(policy: &mut RetryPolicy, selection: &HostSelection) {
    let predicate = |name: &str, config| RetryHostPredicate {
        name: name.to_owned(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(config)),
    };
    match selection.predicate {
        Omit::PreviousHosts => policy
            .retry_host_predicate
            .push(predicate("envoy.retry_host_predicates.previous_hosts", pack(&PreviousHostsPredicate {}))),
        Omit::HostsWithTags => {
            let tags = selection.tags.iter().filter(|(key, _)| key.as_str() != "kuma.io/service");
            let fields = string_struct(tags.map(|(key, value)| (key.as_str(), value.as_str())));
            let metadata = Metadata { filter_metadata: [("envoy.lb".to_owned(), fields)].into(), ..Default::default() };
            let config = OmitHostMetadataConfig { metadata_match: Some(metadata) };
            policy
                .retry_host_predicate
                .push(predicate("envoy.retry_host_predicates.omit_host_metadata", pack(&config)));
        }
        Omit::PreviousPriorities => {
            let config = PreviousPrioritiesConfig { update_frequency: selection.update_frequency };
            policy.retry_priority = Some(RetryPriority {
                name: "envoy.retry_priorities.previous_priorities".to_owned(),
                config_type: Some(retry_priority::ConfigType::TypedConfig(pack(&config))),
            });
        }
    }
}
