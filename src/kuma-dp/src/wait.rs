//! `kuma-dp wait`: blocks until the local proxy is ready.

use anyhow::{Context, Result, bail};
use tokio::time::{Instant, MissedTickBehavior};

use crate::settings::flags::WaitFlags;

/// Asks until the answer is 200.
///
/// # Errors
/// When the time is over.
pub(crate) async fn run(flags: &WaitFlags) -> Result<()> {
    let mut builder = crate::http::client_builder().no_proxy().timeout(flags.request_timeout);
    let url = if flags.unix_socket.is_empty() {
        flags.url.clone()
    } else {
        builder = builder.unix_socket(flags.unix_socket.as_str());
        "http://localhost/ready".to_owned()
    };
    let client = builder.build().context("could not make an HTTP client")?;
    let url = reqwest::Url::parse(&url).with_context(|| format!("--url: invalid URL {url:?}"))?;
    let start = Instant::now() + flags.check_frequency;
    let mut ticks = tokio::time::interval_at(start, flags.check_frequency);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let probing = async {
        loop {
            ticks.tick().await;
            match probe(&client, &url).await {
                Ok(()) => return,
                Err(error) => tracing::info!(%url, error = format!("{error:#}"), "data plane proxy is not ready"),
            }
        }
    };
    match tokio::time::timeout(flags.timeout, probing).await {
        Ok(()) => Ok(()),
        Err(_) => bail!("timeout occurred while waiting for data plane proxy to be ready"),
    }
}

async fn probe(client: &reqwest::Client, url: &reqwest::Url) -> Result<()> {
    let host = url.host_str().unwrap_or_default();
    if !matches!(host, "localhost" | "127.0.0.1" | "[::1]") {
        bail!("URL host must be a loopback address, got {host:?}");
    }
    let status = client.get(url.clone()).send().await?.status();
    if status.as_u16() != 200 {
        bail!("got status {}", status.as_u16());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_foreign_host_is_never_asked_and_time_runs_out() {
        let flags = WaitFlags {
            url: "http://example.com/ready".to_owned(),
            unix_socket: String::new(),
            timeout: Duration::from_secs(180),
            check_frequency: Duration::from_secs(1),
            request_timeout: Duration::from_millis(500),
        };
        let error = run(&flags).await.unwrap_err().to_string();
        assert_eq!(error, "timeout occurred while waiting for data plane proxy to be ready");
    }
}
