//! How policies shape what a proxy runs: one file per policy.

pub mod destinations;
pub mod mesh_http_route;
pub mod mesh_tcp_route;
