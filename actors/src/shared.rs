//! What all actors of a control plane reach: the store, the meeting points, the helpers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store::Store;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::health::Watchers;
use crate::hub::Hub;
use crate::identities::Identities;
use crate::insights::Insights;
use crate::recent::Recent;
use crate::runtime::Arbiters;
use crate::settings::Settings;

/// See the module.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn Store>,
    /// The runtime of everything that is no actor.
    pub(crate) runtime: Handle,
    pub(crate) arbiters: Arbiters,
    pub(crate) insights: Insights,
    pub(crate) identities: Identities,
    pub(crate) watchers: Watchers,
    /// The control plane is going away: streams end, Dataplanes stay.
    pub(crate) draining: CancellationToken,
    /// Nothing is noted for insights any more.
    pub(crate) last_write: CancellationToken,
    /// All insights are written.
    pub(crate) all_written: CancellationToken,
    /// Woken whenever the propagation of a revision may be another.
    pub(crate) moved: Arc<Notify>,
    /// Admits the search for the causes of refusals: one at a time, so that a resource that all proxies
    /// refuse does not keep the machine from sending its repair.
    pub(crate) inquiries: Semaphore,
    /// Admits the first configurations of proxies that connect: two a thread of actors. However many
    /// connect at once, a change waits for no more than these.
    pub(crate) turns: Arc<Semaphore>,
    /// How often what is incremental was not what is made from nothing, in the mode that compares.
    differences: AtomicU64,
    /// How long changes took to reach proxies.
    pub(crate) recent: Recent,
    hubs: Mutex<BTreeMap<Arc<str>, Arc<Hub>>>,
    streams: AtomicU64,
}

impl Shared {
    pub(crate) fn new(settings: Settings, store: Arc<dyn Store>, arbiters: Arbiters) -> Self {
        let identities = Identities::new(&settings);
        let turns = Arc::new(Semaphore::new(2 * arbiters.count()));
        Self {
            settings,
            store,
            runtime: Handle::current(),
            arbiters,
            insights: Insights::default(),
            identities,
            watchers: Watchers::default(),
            draining: CancellationToken::new(),
            last_write: CancellationToken::new(),
            all_written: CancellationToken::new(),
            moved: Arc::default(),
            inquiries: Semaphore::new(1),
            turns,
            differences: AtomicU64::new(0),
            recent: Recent::default(),
            hubs: Mutex::default(),
            streams: AtomicU64::new(1),
        }
    }

    /// The meeting point of a mesh.
    pub(crate) fn hub(&self, mesh: &Arc<str>) -> Arc<Hub> {
        let mut hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Hub::new(Arc::clone(mesh), Arc::clone(&self.moved)));
        Arc::clone(hubs.entry(Arc::clone(mesh)).or_insert_with(new))
    }

    /// Every meeting point, by mesh.
    pub(crate) fn hubs(&self) -> Vec<Arc<Hub>> {
        self.hubs.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Starts a task that is no actor.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.arbiters {
            Arbiters::Threads { .. } => drop(self.runtime.spawn(task)),
            Arbiters::Local => drop(tokio::task::spawn_local(task)),
        }
    }

    /// Waits until the insights of ended streams are written, for `deadline` at most.
    pub(crate) async fn finish_writing(&self, deadline: Duration) {
        self.last_write.cancel();
        // A store without a leader takes no insights; the next start of the proxies repairs them.
        drop(tokio::time::timeout(deadline, self.all_written.cancelled()).await);
    }

    /// What is incremental is not what is made from nothing.
    pub(crate) fn found_difference(&self, of: &'static str) {
        self.differences.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(crate::metrics::VERIFY_DIFFERENCES, "of" => of).increment(1);
    }

    /// How often that was found.
    pub(crate) fn differences(&self) -> u64 {
        self.differences.load(Ordering::Relaxed)
    }

    /// A number for a new stream.
    pub(crate) fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
