//! Metrics of the proxy for Prometheus. MeshMetric makes Envoy listen for scrapes and hand them to the
//! Unix socket served here ([`hijacker`]); what is scraped, and what of it is told, comes as dynamic
//! configuration ([`config`]).

mod clusters;
mod config;
mod conversion;
mod exposition;
pub(crate) mod hijacker;
#[cfg(test)]
mod kuma_cases;
mod profile;
mod scrape;
#[cfg(test)]
mod tests;

pub(crate) use config::{MetricsHandler, SharedConfig};
pub(crate) use exposition::{Family, FamilyKind, Labels, Sample};
pub(crate) use scrape::Scraper;
