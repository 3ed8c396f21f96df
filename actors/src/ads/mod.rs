//! The aggregated discovery service: its gRPC side.

pub(crate) mod body;
mod encode;
pub(crate) mod request;
mod service;
mod stream;

pub use service::AdsService;
