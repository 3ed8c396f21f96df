//! Health discovery: proxies report whether their workloads answer, and Dataplanes follow.

mod service;
mod watchers;

pub use service::HealthService;
pub(crate) use watchers::{Watchers, follow};
