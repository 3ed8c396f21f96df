//! The task that writes insights.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::Connection;
use super::queue::Due;
use super::transaction::transaction;
use crate::shared::Shared;

/// How many insights one transaction writes.
const BATCH_LEN_MAX: usize = 128;

/// How long what is urgent waits when there is much of it, so that what happens next is written with it: a
/// proxy that connects gets its certificate and its first configuration in this time.
const SOON: Duration = Duration::from_secs(1);

/// How long the few wait: who has just connected a proxy looks for it.
const AT_ONCE: Duration = Duration::from_millis(30);

/// How many insights of a second are few.
const FEW: usize = 16;

/// Pause for each insight whose counters were written: a hundred a second at most, however many proxies
/// there are.
const PACE: Duration = Duration::from_millis(10);

/// Pause after a write that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Writes insights until the control plane drains, and then what is left.
pub(crate) async fn write(shared: Arc<Shared>) {
    let settings = &shared.settings;
    let growth = settings.idle_timeout / 2;
    let soon = SOON.min(settings.status_flush_interval);
    let mut grow_at = Instant::now() + growth;
    let (mut soon_at, mut later_at): (Option<Instant>, Option<Instant>) = (None, None);
    let mut lately = Lately { since: Instant::now(), written: 0 };
    loop {
        tokio::select! {
            () = shared.insights.wake.notified() => {
                let due = shared.insights.queue().most_urgent();
                if due >= Due::Soon {
                    soon_at.get_or_insert_with(|| Instant::now() + soon.min(lately.patience()));
                }
                if due >= Due::Later {
                    later_at.get_or_insert_with(|| Instant::now() + settings.status_flush_interval);
                }
            }
            () = at(soon_at) => {
                soon_at = None;
                loop {
                    let written = flush(&shared, Due::Soon).await;
                    lately.written += written;
                    if written == 0 {
                        break;
                    }
                }
                if shared.insights.queue().most_urgent() >= Due::Later {
                    later_at.get_or_insert_with(|| Instant::now() + settings.status_flush_interval);
                }
            }
            () = at(later_at) => {
                let written = flush(&shared, Due::Later).await;
                let is_left = shared.insights.queue().most_urgent() >= Due::Later;
                later_at = is_left.then(|| Instant::now() + PACE * u32::try_from(written).unwrap_or(u32::MAX));
            }
            () = sleep_until(grow_at) => {
                grow_at += growth;
                shared.insights.queue().grow();
                // Before counters that wait their turn.
                soon_at.get_or_insert_with(Instant::now);
            }
            () = shared.last_write.cancelled() => break,
        }
    }
    while flush(&shared, Due::Later).await > 0 {}
    shared.all_written.cancel();
}

/// How much that was urgent was written in the second that began at `since`.
struct Lately {
    since: Instant,
    written: usize,
}

impl Lately {
    /// How long the next may wait.
    fn patience(&mut self) -> Duration {
        if self.since.elapsed() >= SOON {
            *self = Self { since: Instant::now(), written: 0 };
        }
        if self.written < FEW { AT_ONCE } else { SOON }
    }
}

/// Waits until a point in time; forever without one.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Writes a batch of what is at least as urgent as `due`; how many insights it has. A batch that failed
/// is tried again, after a pause and one by one, so that one insight whose Dataplane has just gone does
/// not keep the others away.
async fn flush(shared: &Shared, due: Due) -> usize {
    let batch = shared.insights.queue().take(due, BATCH_LEN_MAX);
    let count = batch.len();
    let Err(failed) = commit(shared, &batch).await else { return count };
    let mut still_failed = failed;
    if batch.len() > 1 {
        still_failed = Vec::new();
        for connection in batch {
            if let Err(failed) = commit(shared, &[connection]).await {
                still_failed.extend(failed);
            }
        }
    }
    if still_failed.is_empty() {
        return count;
    }
    {
        let mut queue = shared.insights.queue();
        still_failed.into_iter().for_each(|connection| queue.put(connection));
    }
    shared.insights.wake.notify_one();
    tokio::time::sleep(RETRY_PAUSE).await;
    0
}

/// Writes these streams in one transaction; on failure those that are worth another try.
async fn commit(shared: &Shared, batch: &[Connection]) -> Result<(), Vec<Connection>> {
    let state = shared.store.snapshot();
    let txn = transaction(&state, batch);
    let count = txn.ops.len();
    if count == 0 {
        return Ok(());
    }
    match shared.store.commit(txn).await {
        Ok(_) => {
            metrics::counter!(crate::metrics::INSIGHT_WRITES, "result" => "written").increment(count as u64);
            Ok(())
        }
        Err(error) => {
            metrics::counter!(crate::metrics::INSIGHT_WRITES, "result" => "failed").increment(count as u64);
            if batch.len() == 1 {
                warn!(proxy = %batch[0].id, %error, "insight not written");
            }
            Err(batch.to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn few_are_written_at_once_and_many_wait_for_each_other() {
        let mut lately = Lately { since: Instant::now(), written: 0 };
        assert_eq!(lately.patience(), AT_ONCE);
        lately.written += FEW;
        assert_eq!(lately.patience(), SOON);
        tokio::time::advance(SOON).await;
        assert_eq!(lately.patience(), AT_ONCE);
    }
}
