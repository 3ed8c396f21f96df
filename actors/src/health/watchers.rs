//! Who waits for changes of which Dataplane: one reader of the feed for all streams.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::Key;
use model::registry::DATAPLANE;
use store::{Event, KindFilter};
use tokio::sync::Notify;

use crate::shared::Shared;

type Waiting = BTreeMap<Key, Vec<Arc<Notify>>>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<Waiting>);

impl Watchers {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears of changes of one Dataplane until it is dropped.
pub(super) struct Watcher {
    shared: Arc<Shared>,
    key: Key,
    changed: Arc<Notify>,
}

impl Watcher {
    pub(super) fn new(shared: &Arc<Shared>, key: Key) -> Self {
        let changed = Arc::new(Notify::new());
        shared.watchers.waiting().entry(key.clone()).or_default().push(Arc::clone(&changed));
        Self { shared: Arc::clone(shared), key, changed }
    }

    /// Waits for a change since the last call, or since the beginning.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut waiting = self.shared.watchers.waiting();
        if let Some(others) = waiting.get_mut(&self.key) {
            others.retain(|other| !Arc::ptr_eq(other, &self.changed));
            if others.is_empty() {
                waiting.remove(&self.key);
            }
        }
    }
}

/// Reads the feed for all watchers until the control plane drains.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut watch = shared.store.watch(None, KindFilter::Only(vec![DATAPLANE]));
    while let Some(Some(event)) = shared.draining.run_until_cancelled(watch.next()).await {
        let waiting = shared.watchers.waiting();
        match event {
            Event::Snapshot(_) => waiting.values().flatten().for_each(|watcher| watcher.notify_one()),
            Event::Batch(batch) => {
                let concerned = batch.changes.iter().filter_map(|change| waiting.get(&change.key));
                concerned.flatten().for_each(|watcher| watcher.notify_one());
            }
        }
    }
}
