//! Monitoring assignments: which proxies a Prometheus scrapes (`kuma_sd_configs`). One method of Kuma's
//! MADS v1 over HTTP, answered from the pictures of meshes.

mod assignments;
mod server;

pub(crate) use server::{Mads, router};
