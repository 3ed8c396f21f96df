//! The aggregated discovery service: its gRPC side.

pub(crate) mod body;
mod closing;
mod encode;
pub(crate) mod request;
mod service;
mod stream;

pub use closing::Closing;
pub use service::AdsService;
