//! The life of a running proxy: its parts run side by side, a signal drains it, and what ends one
//! fatal part ends all.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::envoy::admin::AdminClient;
use crate::readiness::Readiness;

/// The signals that kuma-dp listens to.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    drain: Signal,
}

impl Signals {
    /// Starts listening.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("could not listen to signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            drain: listen(SignalKind::user_defined2())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    pub(crate) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// What draining needs.
pub(crate) struct Drain {
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) admin: Option<AdminClient>,
    pub(crate) time: Duration,
}

/// The parts of a running proxy. Each ends when `stop` is cancelled; one that ends earlier ends all.
#[derive(Default)]
pub(crate) struct Components {
    running: JoinSet<(&'static str, Result<()>)>,
    stop: CancellationToken,
}

impl Components {
    /// What the parts watch.
    pub(crate) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Adds a part that must run as long as kuma-dp does.
    pub(crate) fn add(&mut self, name: &'static str, part: impl Future<Output = Result<()>> + Send + 'static) {
        self.running.spawn(async move { (name, part.await) });
    }

    /// Adds a part that is started again, after a growing pause, when it fails.
    pub(crate) fn add_resilient<F, P>(&mut self, name: &'static str, base: Duration, max: Duration, make: F)
    where
        F: Fn() -> P + Send + 'static,
        P: Future<Output = Result<()>> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.add(name, async move {
            let mut pause = base;
            loop {
                let started = tokio::time::Instant::now();
                let outcome = make().await;
                if stop.is_cancelled() {
                    return Ok(());
                }
                let Err(error) = outcome else { continue };
                if started.elapsed() > max {
                    pause = base;
                }
                tracing::warn!(component = name, error = format!("{error:#}"), retry_in = ?pause, "component failed");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => return Ok(()),
                }
                pause = (pause * 2).min(max);
            }
        });
    }

    /// Runs until a signal drained the proxy or a part ended, then stops all parts.
    ///
    /// # Errors
    /// The first failure of a part.
    pub(crate) async fn run(mut self, mut signals: Signals, drain: Drain) -> Result<()> {
        let first = tokio::select! {
            ended = self.running.join_next() => ended.map(outcome),
            () = until_drained(&mut signals, &drain) => None,
        };
        self.stop.cancel();
        let mut result = first.unwrap_or(Ok(()));
        let rest = async {
            while let Some(ended) = self.running.join_next().await {
                if let (Err(error), Ok(())) = (outcome(ended), &result) {
                    result = Err(error);
                }
            }
            result
        };
        tokio::select! {
            result = rest => result,
            () = signals.stop() => anyhow::bail!("stopped by a further signal"),
        }
    }
}

fn outcome(ended: Result<(&'static str, Result<()>), tokio::task::JoinError>) -> Result<()> {
    match ended {
        Ok((name, Err(error))) => Err(error.context(format!("{name} terminated with an error"))),
        Ok((name, Ok(()))) => {
            tracing::debug!(component = name, "component finished");
            Ok(())
        }
        Err(panic) => Err(panic).context("a component panicked"),
    }
}

/// Waits for a stop signal and drains; SIGUSR2 before it drains the inbound listeners already.
async fn until_drained(signals: &mut Signals, drain: &Drain) {
    let mut listeners_drained = false;
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.drain.recv() => {
                if !std::mem::replace(&mut listeners_drained, true)
                    && let Some(admin) = &drain.admin
                    && let Err(error) = admin.post("/drain_listeners?inboundonly&graceful&skip_exit").await
                {
                    tracing::error!(error = format!("{error:#}"), "could not drain Envoy's listeners");
                }
            }
        }
    }
    tracing::info!("stopping gracefully");
    drain.readiness.terminate();
    let Some(admin) = &drain.admin else { return };
    if let Err(error) = admin.post("/healthcheck/fail").await {
        tracing::error!(error = format!("{error:#}"), "could not make Envoy drain connections");
        return;
    }
    if listeners_drained {
        return;
    }
    tracing::info!(drain_time = ?drain.time, "draining Envoy connections");
    tokio::select! {
        () = tokio::time::sleep(drain.time) => {}
        () = idle(admin) => tracing::info!("no connection is left"),
        () = signals.stop() => tracing::info!("a further signal cut the draining short"),
    }
}

/// How many looks in a row must find no connection before draining ends early.
const IDLE_LOOKS: u32 = 3;

/// Ends when Envoy has had no downstream connection for a few seconds.
async fn idle(admin: &AdminClient) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut idle_looks = 0;
    while idle_looks < IDLE_LOOKS {
        ticks.tick().await;
        let stats = match admin.get("/stats?filter=^listener\\..*downstream_cx_active$").await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        idle_looks = if active_connections(&stats) == Some(0) { idle_looks + 1 } else { 0 };
    }
}

/// The sum over all listeners but Envoy's own; `None` when there is no figure.
fn active_connections(stats: &str) -> Option<u64> {
    stats
        .lines()
        .filter(|line| !line.contains("listener.admin.") && !line.contains("system_"))
        .filter_map(|line| line.rsplit_once(": ")?.1.trim().parse::<u64>().ok())
        .reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_summed_over_listeners() {
        let stats = "listener.admin.downstream_cx_active: 1\nlistener.a.downstream_cx_active: 2\n\
                     listener.b.downstream_cx_active: 3\nlistener.system_dynamicconfig.downstream_cx_active: 1\n";
        assert_eq!(active_connections(stats), Some(5));
        assert_eq!(active_connections(""), None);
    }

    fn drain() -> Drain {
        Drain { readiness: Arc::new(Readiness::new(false, None).unwrap()), admin: None, time: Duration::ZERO }
    }

    #[tokio::test]
    async fn a_part_that_fails_ends_all() {
        let mut components = Components::default();
        let stop = components.stop_token();
        components.add("other", async move {
            stop.cancelled().await;
            Ok(())
        });
        components.add("bad", async { anyhow::bail!("broken") });
        let error = components.run(Signals::listen().unwrap(), drain()).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "bad terminated with an error: broken");
    }

    #[tokio::test]
    async fn a_part_that_finishes_ends_all_well() {
        let mut components = Components::default();
        components.add("envoy", async { Ok(()) });
        components.run(Signals::listen().unwrap(), drain()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_resilient_part_is_started_again() {
        let mut components = Components::default();
        let starts = tokio::sync::watch::Sender::new(0);
        let counter = starts.clone();
        components.add_resilient("flaky", Duration::from_secs(5), Duration::from_secs(60), move || {
            counter.send_modify(|n| *n += 1);
            async { anyhow::bail!("again") }
        });
        let mut seen = starts.subscribe();
        components.add("watcher", async move {
            seen.wait_for(|n| *n == 3).await?;
            Ok(())
        });
        components.run(Signals::listen().unwrap(), drain()).await.unwrap();
    }
}
