//! Telemetry of Envoy for OpenTelemetry collectors: Envoy sends it to a Unix socket per collector, and
//! kuma-dp passes it on ([`pipe`]). Metrics of Envoy and the workload are sent from here ([`export`]).

mod channel;
mod config;
mod export;
mod grpc;
mod pipe;
mod protocol;
#[cfg(test)]
mod tests;

pub(crate) use config::{OtelHandler, SharedPlan};
pub(crate) use grpc::{frame, unframe};
pub(crate) use pipe::run;
