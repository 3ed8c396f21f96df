//! From a conf to Envoy's health check.

use std::time::Duration;

use model::Labels;
use model::kinds::duration::GoDuration;
use model::kinds::headers::HeaderKeyValue;

use super::conf::{Conf, Grpc, Http, Tcp};
use crate::envoy::core::header_value_option::HeaderAppendAction;
use crate::envoy::core::health_check::{
    GrpcHealthCheck, HealthChecker, HttpHealthCheck, Payload, TcpHealthCheck, payload,
};
use crate::envoy::core::{HeaderValue, HeaderValueOption, HealthCheck, TypedExtensionConfig};
use crate::envoy::types::{CodecClientType, Int64Range};
use crate::envoy::{BoolValue, UInt32Value, duration, pack};
use crate::generators::outbound::kuma_tags;
use crate::protocol::Protocol;
use envoy_types::pb::envoy::extensions::health_check::event_sinks::file::v3::HealthCheckEventFileSink;

const INTERVAL: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(15);
const UNHEALTHY_THRESHOLD: u32 = 5;
const HEALTHY_THRESHOLD: u32 = 1;

/// The check for endpoints that speak `protocol`; `None` when the conf has none for it.
pub(super) fn health_check(conf: &Conf, protocol: Protocol, labels: &Labels) -> Option<HealthCheck> {
    let checker = checker(conf, protocol, labels)?;
    let span = |span: Option<GoDuration>| span.map(|span| duration(span.to_std()));
    let number = |value: u32| Some(UInt32Value { value });
    let sink = |path: &String| TypedExtensionConfig {
        name: "envoy.health_check.event_sinks.file".to_owned(),
        typed_config: Some(pack(&HealthCheckEventFileSink { event_log_path: path.clone() })),
    };
    Some(HealthCheck {
        interval: span(conf.interval).or(Some(duration(INTERVAL))),
        timeout: span(conf.timeout).or(Some(duration(TIMEOUT))),
        unhealthy_threshold: number(conf.unhealthy_threshold.unwrap_or(UNHEALTHY_THRESHOLD)),
        healthy_threshold: number(conf.healthy_threshold.unwrap_or(HEALTHY_THRESHOLD)),
        initial_jitter: span(conf.initial_jitter),
        interval_jitter: span(conf.interval_jitter),
        interval_jitter_percent: conf.interval_jitter_percent.unwrap_or_default(),
        no_traffic_interval: span(conf.no_traffic_interval),
        always_log_health_check_failures: conf.always_log_health_check_failures.unwrap_or_default(),
        reuse_connection: conf.reuse_connection.map(|value| BoolValue { value }),
        event_logger: conf.event_log_path.iter().map(sink).collect(),
        health_checker: Some(checker),
        ..Default::default()
    })
}

/// The checker of a protocol; where it is switched off, that of TCP.
fn checker(conf: &Conf, protocol: Protocol, labels: &Labels) -> Option<HealthChecker> {
    let enabled = |disabled: Option<bool>| disabled != Some(true);
    let tcp = || conf.tcp.as_ref().filter(|tcp| enabled(tcp.disabled)).map(tcp_checker);
    match protocol {
        Protocol::Http | Protocol::Http2 => match conf.http.as_ref()? {
            http if enabled(http.disabled) => Some(http_checker(http, protocol, labels)),
            _ => tcp(),
        },
        Protocol::Grpc => match conf.grpc.as_ref()? {
            grpc if enabled(grpc.disabled) => Some(grpc_checker(grpc)),
            _ => tcp(),
        },
        Protocol::Tcp | Protocol::Tls | Protocol::Mysql | Protocol::Unknown => tcp(),
    }
}

/// Envoy takes payloads as hexadecimal text.
fn tcp_checker(conf: &Tcp) -> HealthChecker {
    let payload = |text: &String| {
        let hex = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        Payload { payload: Some(payload::Payload::Text(hex)) }
    };
    HealthChecker::TcpHealthCheck(TcpHealthCheck {
        send: conf.send.as_ref().map(payload),
        receive: conf.receive.iter().map(payload).collect(),
        ..Default::default()
    })
}

fn grpc_checker(conf: &Grpc) -> HealthChecker {
    HealthChecker::GrpcHealthCheck(GrpcHealthCheck {
        service_name: conf.service_name.clone().unwrap_or_default(),
        authority: conf.authority.clone().unwrap_or_default(),
        ..Default::default()
    })
}

fn http_checker(conf: &Http, protocol: Protocol, labels: &Labels) -> HealthChecker {
    let codec = if protocol == Protocol::Http2 { CodecClientType::Http2 } else { CodecClientType::Http1 };
    let exactly = |status: &i32| Int64Range { start: i64::from(*status), end: i64::from(*status) + 1 };
    let mut headers = Vec::new();
    if !labels.is_empty() {
        headers.push(header("x-kuma-tags", &kuma_tags(labels), None));
    }
    if let Some(additions) = &conf.request_headers_to_add {
        let added = additions.add.iter().flatten();
        headers.extend(added.flat_map(|h| headers_of(h, HeaderAppendAction::AppendIfExistsOrAdd)));
        let set = additions.set.iter().flatten();
        headers.extend(set.flat_map(|h| headers_of(h, HeaderAppendAction::OverwriteIfExistsOrAdd)));
    }
    HealthChecker::HttpHealthCheck(HttpHealthCheck {
        path: conf.path.clone().unwrap_or_else(|| "/".to_owned()),
        expected_statuses: conf.expected_statuses.iter().map(exactly).collect(),
        codec_client_type: codec.into(),
        request_headers_to_add: headers,
        ..Default::default()
    })
}

/// A list of values is one header for each of them.
fn headers_of(header_value: &HeaderKeyValue, action: HeaderAppendAction) -> Vec<HeaderValueOption> {
    header_value.value.split(',').map(|part| header(&header_value.name, part, Some(action))).collect()
}

fn header(name: &str, value: &str, action: Option<HeaderAppendAction>) -> HeaderValueOption {
    let value = HeaderValue { key: name.to_owned(), value: value.to_owned(), ..Default::default() };
    let append_action = action.map(i32::from).unwrap_or_default();
    HeaderValueOption { header: Some(value), append_action, ..Default::default() }
}
