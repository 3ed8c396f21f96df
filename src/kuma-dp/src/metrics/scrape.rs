//! Asks Envoy and the workloads for their metrics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::clusters;
use super::config::{Application, Config, SharedConfig};
use super::conversion::convert;
use super::exposition::{self, Family};
use crate::envoy::admin::AdminClient;
use crate::machine::is_ipv6;

/// How long a target may take; what does not answer by then is left out of the scrape.
const TARGET_TIMEOUT: Duration = Duration::from_secs(10);
/// The source that transparent proxying does not redirect.
const UNREDIRECTED: (IpAddr, IpAddr) =
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)), IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6)));

/// Collects the metrics of the proxy and its workload.
#[derive(Debug)]
pub(crate) struct Scraper {
    envoy: Option<AdminClient>,
    applications: reqwest::Client,
    /// Where workloads without an address of their own are.
    address: String,
    config: SharedConfig,
    version: String,
}

impl Scraper {
    /// A scraper for a proxy at `address`; `is_redirected` when traffic of this machine is redirected
    /// into it.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(
        envoy: Option<AdminClient>,
        address: &str,
        is_redirected: bool,
        config: SharedConfig,
        version: &str,
    ) -> Result<Self> {
        let mut builder = crate::http::client_builder().no_proxy().timeout(TARGET_TIMEOUT);
        if is_redirected {
            builder = builder.local_address(if is_ipv6(address) { UNREDIRECTED.1 } else { UNREDIRECTED.0 });
        }
        let applications = builder.build().context("could not make an HTTP client for metrics")?;
        let (address, version) = (address.to_owned(), version.to_owned());
        Ok(Self { envoy, applications, address, config, version })
    }

    /// Hears of changes of the configuration.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Config>> {
        self.config.subscribe()
    }

    /// The metrics as the configuration wants them, in Prometheus' format.
    pub(super) async fn metrics(&self) -> String {
        exposition::write(&self.families().await)
    }

    /// The metrics as the configuration wants them. Targets that do not answer are left out.
    pub(crate) async fn families(&self) -> Vec<Family> {
        let config = Arc::clone(&self.config.borrow());
        let envoy = async {
            let unused = if config.include_unused { "" } else { "&usedonly=" };
            let path = format!("/stats?format=prometheus&text_readouts={unused}");
            config.selection.apply(told("Envoy", self.of_envoy(&path).await))
        };
        // All are asked at once: one that is slow must not use up the time of the others.
        let asked: Vec<_> = config.applications.iter().map(|application| self.ask(self.url(application))).collect();
        let applications = async {
            let mut families = Vec::new();
            for told in asked {
                families.extend(told.await.unwrap_or_default());
            }
            families
        };
        let (mut families, own) = tokio::join!(applications, envoy);
        families.extend(own);
        convert(families, &config.extra_labels, &self.version)
    }

    /// Envoy's metrics as it tells them, with the clones of clusters joined.
    pub(super) async fn of_proxy(&self, query: &str) -> String {
        let given = if query.is_empty() { String::new() } else { format!("{query}&") };
        let path = format!("/stats?{given}format=prometheus&text_readouts=");
        let mut families = told("Envoy", self.of_envoy(&path).await);
        clusters::merge(&mut families);
        exposition::write(&families)
    }

    async fn of_envoy(&self, path: &str) -> Result<Vec<Family>> {
        let Some(envoy) = &self.envoy else { return Ok(Vec::new()) };
        let answer = tokio::time::timeout(TARGET_TIMEOUT, envoy.get(path)).await??;
        families(answer).await
    }

    /// Asks a workload in a task of its own.
    fn ask(&self, url: String) -> JoinHandle<Vec<Family>> {
        let request = self.applications.get(&url).send();
        tokio::spawn(async move {
            let answered = async { families(request.await?).await };
            told(&url, answered.await)
        })
    }

    fn url(&self, application: &Application) -> String {
        let address = if application.address.is_empty() { &self.address } else { &application.address };
        let host = if is_ipv6(address) { format!("[{address}]") } else { address.clone() };
        let path = application.path.trim_start_matches('/');
        format!("http://{host}:{}/{path}", application.port)
    }
}

async fn families(answer: reqwest::Response) -> Result<Vec<Family>> {
    if answer.status().as_u16() != 200 {
        bail!("status {}", answer.status());
    }
    Ok(exposition::parse(&answer.text().await?)?)
}

/// What a target told; nothing, with a word in the log, when it failed.
fn told(target: &str, outcome: Result<Vec<Family>>) -> Vec<Family> {
    outcome.unwrap_or_else(|error| {
        tracing::info!(target = target, error = format!("{error:#}"), "left out of the metrics");
        Vec::new()
    })
}

impl Config {
    /// The parsed configuration, for tests.
    #[cfg(test)]
    pub(super) fn shared(self) -> SharedConfig {
        Arc::new(watch::Sender::new(Arc::new(self)))
    }
}
