//! The task that writes insights.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::kinds::dataplane_insight::DataplaneInsight;
use model::{Key, Labels, Spec};
use store::{State, Txn};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::{Connection, Due};
use crate::shared::Shared;

/// How many insights one transaction writes.
const BATCH_LEN_MAX: usize = 128;

/// Pause after a write that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Writes insights until the control plane drains, and then what is left.
pub(crate) async fn write(shared: Arc<Shared>) {
    let settings = &shared.settings;
    let growth = settings.idle_timeout / 2;
    let mut grow_at = Instant::now() + growth;
    let mut flush_at: Option<Instant> = None;
    loop {
        let flush = async {
            match flush_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.insights.wake.notified() => {
                flush_now(&shared, Due::Now).await;
                if flush_at.is_none() && shared.insights.streams().values().any(|noted| noted.due != Due::No) {
                    flush_at = Some(Instant::now() + settings.status_flush_interval);
                }
            }
            () = flush => {
                flush_at = None;
                flush_now(&shared, Due::Later).await;
            }
            () = sleep_until(grow_at) => {
                grow_at += growth;
                shared.insights.grow();
                flush_now(&shared, Due::Later).await;
            }
            () = shared.last_write.cancelled() => break,
        }
    }
    flush_now(&shared, Due::Later).await;
    shared.all_written.cancel();
}

/// Writes everything that is at least as urgent as `due`, in batches.
async fn flush_now(shared: &Shared, due: Due) {
    loop {
        let batch = take(shared, due);
        if batch.is_empty() {
            return;
        }
        let Err(failed) = commit(shared, &batch).await else { continue };
        // One insight whose Dataplane has just gone must not keep the others away.
        let mut still_failed = failed;
        if batch.len() > 1 {
            still_failed = Vec::new();
            for connection in batch {
                if let Err(failed) = commit(shared, &[connection]).await {
                    still_failed.extend(failed);
                }
            }
        }
        if !still_failed.is_empty() {
            give_back(shared, still_failed);
            tokio::time::sleep(RETRY_PAUSE).await;
            return;
        }
    }
}

/// Takes what is due; streams that have ended are forgotten.
fn take(shared: &Shared, due: Due) -> Vec<Connection> {
    let mut streams = shared.insights.streams();
    let mut batch = Vec::new();
    let mut ended = Vec::new();
    for (stream, noted) in streams.iter_mut().filter(|(_, noted)| noted.due >= due) {
        noted.due = Due::No;
        batch.push(noted.connection.clone());
        if noted.connection.disconnect_time.is_some() {
            ended.push(*stream);
        }
        if batch.len() == BATCH_LEN_MAX {
            break;
        }
    }
    for stream in ended {
        streams.remove(&stream);
    }
    batch
}

/// Notes again what could not be written, unless something newer was noted meanwhile.
fn give_back(shared: &Shared, failed: Vec<Connection>) {
    let mut streams = shared.insights.streams();
    for connection in failed {
        let noted = streams.entry(connection.stream).or_insert(super::Noted { connection, due: Due::No });
        noted.due = noted.due.max(Due::Now);
    }
    shared.insights.wake.notify_one();
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

/// What changes in the store. A Dataplane that is gone has no insight.
fn transaction(state: &State, batch: &[Connection]) -> Txn {
    let mut insights: BTreeMap<Key, (DataplaneInsight, &Connection)> = BTreeMap::new();
    for connection in batch.iter().filter(|connection| state.get(&connection.id.dataplane()).is_some()) {
        let key = connection.id.insight();
        let stored = || state.get(&key).and_then(|stored| stored.spec::<DataplaneInsight>()).cloned();
        let (insight, _) = insights.entry(key.clone()).or_insert_with(|| (stored().unwrap_or_default(), connection));
        connection.merge_into(insight);
    }
    let mut txn = Txn::new();
    for (key, (insight, connection)) in insights {
        let spec = match Spec::of(insight) {
            Ok(spec) => spec,
            Err(error) => {
                debug!(proxy = %connection.id, %error, "insight has no JSON form");
                continue;
            }
        };
        let stored = state.get(&key);
        if stored.is_some_and(|stored| stored.spec == spec) {
            metrics::counter!(crate::metrics::INSIGHT_WRITES, "result" => "equal").increment(1);
            continue;
        }
        txn = match stored {
            Some(stored) => txn.require_version(key.clone(), stored.meta.version),
            None => txn.require_absent(key.clone()),
        };
        let labels = stored.map(|stored| stored.meta.labels.clone()).unwrap_or_default();
        txn = txn.put_owned(key, labels as Labels, spec, connection.id.dataplane());
    }
    txn
}
