//! The `identity` crate.

pub mod client_tls;
