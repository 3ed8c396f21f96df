//! Dynamic configuration: the control plane hands data to kuma-dp as direct responses of an Envoy
//! listener on a Unix socket, and kuma-dp asks for it again and again.
//!
//! Asking is Kuma's protocol; it crosses a Unix socket on this machine and, thanks to ETags, moves no
//! bytes when nothing changed.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How long one answer may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Something that is configured this way. `body` is `None` when the configuration was removed.
pub(crate) trait Handler: Send + Sync {
    /// The path on the listener.
    fn path(&self) -> &'static str;

    /// Takes a new configuration.
    ///
    /// # Errors
    /// When it is unusable; it is then offered again.
    fn changed(&self, body: Option<&[u8]>) -> Result<()>;
}

/// A handler and what it has processed last.
struct Subscription {
    handler: Box<dyn Handler>,
    /// Of the last configuration that was processed.
    etag: Option<String>,
    configured: bool,
}

/// Polls the listener for all handlers.
pub(crate) struct Fetcher {
    http: reqwest::Client,
    interval: Duration,
    subscriptions: Vec<Subscription>,
}

impl Fetcher {
    /// A fetcher on the socket of Envoy's listener.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(socket: &str, interval: Duration, handlers: Vec<Box<dyn Handler>>) -> Result<Self> {
        let http = crate::http::client_builder()
            .no_proxy()
            .timeout(REQUEST_TIMEOUT)
            .unix_socket(socket)
            .build()
            .context("could not make an HTTP client for dynamic configuration")?;
        let subscription = |handler| Subscription { handler, etag: None, configured: false };
        Ok(Self { http, interval, subscriptions: handlers.into_iter().map(subscription).collect() })
    }

    /// Asks until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return Ok(()),
            }
            for subscription in &mut self.subscriptions {
                if let Err(error) = subscription.poll(&self.http).await {
                    subscription.etag = None;
                    let path = subscription.handler.path();
                    tracing::warn!(path, error = format!("{error:#}"), "could not take dynamic configuration");
                }
            }
        }
    }
}

impl Subscription {
    async fn poll(&mut self, http: &reqwest::Client) -> Result<()> {
        let mut request = http.get(format!("http://localhost{}", self.handler.path()));
        if let Some(etag) = &self.etag {
            request = request.header("If-None-Match", etag);
        }
        let response = match request.send().await {
            Ok(response) => response,
            // Envoy is not up yet, or has no such listener (any more).
            Err(error) if error.is_connect() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match response.status().as_u16() {
            304 => Ok(()),
            404 => {
                self.etag = None;
                if std::mem::take(&mut self.configured) { self.handler.changed(None) } else { Ok(()) }
            }
            200 => {
                let etag = response.headers().get("etag").and_then(|v| v.to_str().ok()).map(str::to_owned);
                let body = response.bytes().await?;
                self.handler.changed(Some(&body))?;
                self.etag = etag;
                self.configured = true;
                Ok(())
            }
            other => bail!("unexpected status {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::get;
    use tokio::sync::watch;

    use super::*;

    struct Recorder(watch::Sender<Vec<Option<String>>>);

    impl Handler for Recorder {
        fn path(&self) -> &'static str {
            "/dns"
        }

        fn changed(&self, body: Option<&[u8]>) -> Result<()> {
            let text = body.map(|b| String::from_utf8_lossy(b).into_owned());
            self.0.send_modify(|seen| seen.push(text));
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_configuration_is_taken_once_and_its_removal_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("c.sock");
        let body = Arc::new(Mutex::new(Some("one")));
        let served = Arc::clone(&body);
        let unchanged = watch::Sender::new(0);
        let counter = unchanged.clone();
        let app = Router::new().route(
            "/dns",
            get(move |headers: HeaderMap| async move {
                let Some(body) = *served.lock().unwrap() else {
                    return (StatusCode::NOT_FOUND, HeaderMap::new(), "");
                };
                if headers.get("if-none-match").is_some_and(|v| v == body) {
                    counter.send_modify(|n| *n += 1);
                    return (StatusCode::NOT_MODIFIED, HeaderMap::new(), "");
                }
                let mut etag = HeaderMap::new();
                etag.insert("etag", body.parse().unwrap());
                (StatusCode::OK, etag, body)
            }),
        );
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });

        let seen = watch::Sender::new(Vec::new());
        let handlers: Vec<Box<dyn Handler>> = vec![Box::new(Recorder(seen.clone()))];
        let stop = CancellationToken::new();
        let fetcher = Fetcher::new(socket.to_str().unwrap(), Duration::from_millis(5), handlers).unwrap();
        let running = tokio::spawn(fetcher.run(stop.clone()));

        unchanged.subscribe().wait_for(|n| *n >= 2).await.unwrap();
        assert_eq!(*seen.borrow(), [Some("one".to_owned())]);
        *body.lock().unwrap() = Some("two");
        seen.subscribe().wait_for(|s| s.len() == 2).await.unwrap();
        *body.lock().unwrap() = None;
        seen.subscribe().wait_for(|s| s.len() == 3).await.unwrap();
        assert_eq!(seen.borrow()[1..], [Some("two".to_owned()), None]);
        stop.cancel();
        running.await.unwrap().unwrap();
    }
}
