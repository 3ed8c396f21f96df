//! The environment of `kuma-dp run`: one table of variables.

use std::time::Duration;

use anyhow::{Result, anyhow};

use super::Settings;
use crate::go_duration;

type Field<T> = fn(&mut Settings) -> &mut T;

/// Where a variable goes, by type.
enum Target {
    Text(Field<String>),
    Switch(Field<bool>),
    Number(Field<u32>),
    Size(Field<u64>),
    Span(Field<Duration>),
}

use Target::{Number, Size, Span, Switch, Text};

/// Kuma's variables. Unknown ones are ignored; one that is set but empty counts as set.
const VARIABLES: &[(&str, Target)] = &[
    ("KUMA_CONTROL_PLANE_URL", Text(|s| &mut s.control_plane.url)),
    ("KUMA_CONTROL_PLANE_CA_CERT", Text(|s| &mut s.control_plane.ca_cert)),
    ("KUMA_CONTROL_PLANE_CA_CERT_FILE", Text(|s| &mut s.control_plane.ca_cert_file)),
    ("KUMA_CONTROL_PLANE_TLS_SKIP_VERIFY", Switch(|s| &mut s.control_plane.tls_skip_verify)),
    ("KUMA_CONTROL_PLANE_RETRY_BACKOFF", Span(|s| &mut s.control_plane.retry_backoff)),
    ("KUMA_CONTROL_PLANE_RETRY_MAX_DURATION", Span(|s| &mut s.control_plane.retry_max_duration)),
    ("KUMA_DATAPLANE_MESH", Text(|s| &mut s.dataplane.mesh)),
    ("KUMA_DATAPLANE_NAME", Text(|s| &mut s.dataplane.name)),
    ("KUMA_DATAPLANE_PROXY_TYPE", Text(|s| &mut s.dataplane.proxy_type)),
    ("KUMA_DATAPLANE_DRAIN_TIME", Span(|s| &mut s.dataplane.drain_time)),
    ("KUMA_READINESS_PORT", Number(|s| &mut s.dataplane.readiness_port)),
    ("KUMA_DATAPLANE_RESILIENT_COMPONENT_BASE_BACKOFF", Span(|s| &mut s.dataplane.resilient_component_base_backoff)),
    ("KUMA_DATAPLANE_RESILIENT_COMPONENT_MAX_BACKOFF", Span(|s| &mut s.dataplane.resilient_component_max_backoff)),
    ("KUMA_DATAPLANE_RUNTIME_BINARY_PATH", Text(|s| &mut s.dataplane_runtime.binary_path)),
    ("KUMA_DATAPLANE_RUNTIME_WORK_DIR", Text(|s| &mut s.dataplane_runtime.work_dir)),
    ("KUMA_DATAPLANE_RUNTIME_CONCURRENCY", Number(|s| &mut s.dataplane_runtime.concurrency)),
    ("KUMA_DATAPLANE_RUNTIME_TOKEN_PATH", Text(|s| &mut s.dataplane_runtime.dataplane_token_path)),
    ("KUMA_DATAPLANE_RUNTIME_TOKEN", Text(|s| &mut s.dataplane_runtime.dataplane_token)),
    ("KUMA_DATAPLANE_RUNTIME_RESOURCE", Text(|s| &mut s.dataplane_runtime.resource)),
    ("KUMA_DATAPLANE_RUNTIME_RESOURCE_PATH", Text(|s| &mut s.dataplane_runtime.resource_path)),
    ("KUMA_DATAPLANE_RUNTIME_ENVOY_LOG_LEVEL", Text(|s| &mut s.dataplane_runtime.envoy_log_level)),
    ("KUMA_DATAPLANE_RUNTIME_ENVOY_COMPONENT_LOG_LEVEL", Text(|s| &mut s.dataplane_runtime.envoy_component_log_level)),
    ("KUMA_DATAPLANE_RESOURCES_MAX_MEMORY_BYTES", Size(|s| &mut s.dataplane_runtime.max_memory_bytes)),
    ("KUMA_DATAPLANE_RUNTIME_METRICS_CERT_PATH", Text(|s| &mut s.dataplane_runtime.metrics_cert_path)),
    ("KUMA_DATAPLANE_RUNTIME_METRICS_KEY_PATH", Text(|s| &mut s.dataplane_runtime.metrics_key_path)),
    (
        "KUMA_DATAPLANE_RUNTIME_DYNAMIC_CONFIGURATION_REFRESH_INTERVAL",
        Span(|s| &mut s.dataplane_runtime.dynamic_configuration_refresh_interval),
    ),
    ("KUMA_DATAPLANE_RUNTIME_DYNAMIC_SYSTEM_CA_PATH", Text(|s| &mut s.dataplane_runtime.system_ca_path)),
    ("KUMA_DATAPLANE_RUNTIME_BIND_OUTBOUNDS", Switch(|s| &mut s.dataplane_runtime.bind_outbounds)),
    ("KUMA_DATAPLANE_RUNTIME_IPV6_ENABLED", Switch(|s| &mut s.dataplane_runtime.ipv6_enabled)),
    ("KUMA_DATAPLANE_RUNTIME_SPIRE_SUPPORTED", Switch(|s| &mut s.dataplane_runtime.spire_supported)),
    ("KUMA_DATAPLANE_RUNTIME_SPIRE_SOCKET_PATH", Text(|s| &mut s.dataplane_runtime.spire_socket_path)),
    (
        "KUMA_DATAPLANE_RUNTIME_STRICT_INBOUND_PORTS_ENABLED",
        Switch(|s| &mut s.dataplane_runtime.strict_inbound_ports_enabled),
    ),
    ("KUMA_DATAPLANE_RUNTIME_OTEL_PIPE_ENABLED", Switch(|s| &mut s.dataplane_runtime.otel_pipe_enabled)),
    ("KUMA_DATAPLANE_RUNTIME_REUSE_PORT_ENABLED", Switch(|s| &mut s.dataplane_runtime.reuse_port_enabled)),
    ("KUMA_DNS_ENABLED", Switch(|s| &mut s.dns.enabled)),
    ("KUMA_DNS_PROXY_PORT", Number(|s| &mut s.dns.proxy_port)),
    ("KUMA_APPLICATION_PROBE_PROXY_PORT", Number(|s| &mut s.application_probe_proxy_port)),
];

/// Lays the environment over the settings.
///
/// # Errors
/// The first variable whose value is not of its type, named with the type that was expected.
pub(crate) fn apply(settings: &mut Settings, lookup: impl Fn(&str) -> Option<String>) -> Result<()> {
    for (name, target) in VARIABLES {
        let Some(value) = lookup(name) else { continue };
        let wrong = |kind: &str| {
            anyhow!("envconfig.Process: assigning {name} to its field: converting '{value}' to type {kind}")
        };
        match target {
            Text(field) => *field(settings) = value,
            Switch(field) => *field(settings) = parse_bool(&value).ok_or_else(|| wrong("bool"))?,
            Number(field) => *field(settings) = value.parse().map_err(|_| wrong("uint32"))?,
            Size(field) => *field(settings) = value.parse().map_err(|_| wrong("uint64"))?,
            Span(field) => *field(settings) = go_duration::parse(&value).map_err(|_| wrong("time.Duration"))?,
        }
    }
    Ok(())
}

/// The spellings that Go's `strconv.ParseBool` takes.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Settings> {
        let environment: BTreeMap<_, _> = pairs.iter().copied().collect();
        let mut settings = Settings::default();
        settings.dataplane.name = "from-flag".to_owned();
        apply(&mut settings, |name| environment.get(name).map(|v| (*v).to_owned()))?;
        Ok(settings)
    }

    #[test]
    fn environment_wins_over_flags() {
        assert_eq!(with(&[("KUMA_DATAPLANE_NAME", "a")]).unwrap().dataplane.name, "a");
        assert_eq!(with(&[("KUMA_DATAPLANE_NAME", "")]).unwrap().dataplane.name, "");
        assert_eq!(with(&[]).unwrap().dataplane.name, "from-flag");
    }

    #[test]
    fn values_are_converted_by_type() {
        let settings = with(&[
            ("KUMA_DATAPLANE_DRAIN_TIME", "1m30s"),
            ("KUMA_DNS_ENABLED", "f"),
            ("KUMA_DNS_PROXY_PORT", "5353"),
            ("KUMA_DATAPLANE_RESOURCES_MAX_MEMORY_BYTES", "5000000000"),
        ])
        .unwrap();
        assert_eq!(settings.dataplane.drain_time, Duration::from_secs(90));
        assert!(!settings.dns.enabled);
        assert_eq!(settings.dns.proxy_port, 5353);
        assert_eq!(settings.dataplane_runtime.max_memory_bytes, 5_000_000_000);
    }

    #[test]
    fn a_value_of_the_wrong_type_names_the_variable() {
        let error = with(&[("KUMA_READINESS_PORT", "")]).unwrap_err().to_string();
        assert!(error.starts_with("envconfig.Process: assigning KUMA_READINESS_PORT"), "{error}");
    }

    #[test]
    fn no_variable_is_listed_twice() {
        let names: BTreeSet<_> = VARIABLES.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), VARIABLES.len());
    }
}
