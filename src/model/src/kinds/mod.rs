//! Typed specs: one file a kind, each with its defaults, its validation and its tests, and the
//! parts that kinds share.

pub mod conditions;
pub mod data_source;
pub mod destination;
pub mod duration;
pub mod headers;
pub mod int_or_string;
pub mod matches;
pub mod otel_backend_ref;
pub mod policy_parts;
pub mod proto_json;
pub mod protocol;
pub mod selector;
pub mod target_ref;
pub mod tls_version;

mod registered;
mod rules;
mod text_enum;

pub mod config;
pub mod dataplane;
pub mod dataplane_insight;
pub mod hostname_generator;
pub mod mesh;
pub mod mesh_access_log;
pub mod mesh_circuit_breaker;
pub mod mesh_external_service;
pub mod mesh_fault_injection;
pub mod mesh_health_check;
pub mod mesh_http_route;
pub mod mesh_identity;
pub mod mesh_insight;
pub mod mesh_load_balancing_strategy;
pub mod mesh_metric;
pub mod mesh_multi_zone_service;
pub mod mesh_open_telemetry_backend;
pub mod mesh_passthrough;
pub mod mesh_proxy_patch;
pub mod mesh_rate_limit;
pub mod mesh_retry;
pub mod mesh_service;
pub mod mesh_tcp_route;
pub mod mesh_timeout;
pub mod mesh_tls;
pub mod mesh_trace;
pub mod mesh_traffic_permission;
pub mod mesh_trust;
pub mod mesh_zone_address;
pub mod secret;
pub mod workload;
pub mod zone;
pub mod zone_insight;

#[cfg(test)]
mod tests;
