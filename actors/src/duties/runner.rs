//! Runs the duties where the leader is: when the feed brings something that concerns them, when a
//! deadline of theirs comes, and at first.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use model::kinds::dataplane_insight::DataplaneInsight;
use model::registry::{
    DATAPLANE, DATAPLANE_INSIGHT, HOSTNAME_GENERATOR, MESH, MESH_EXTERNAL_SERVICE, MESH_IDENTITY,
    MESH_MULTI_ZONE_SERVICE, MESH_SERVICE, MESH_TRUST, SECRET, WORKLOAD,
};
use model::{Change, Kind};
use store::{CommitError, Event, KindFilter, Leadership, Revision, State, Store, Txn, Watch};
use tokio_util::sync::CancellationToken;

use super::focus::Focus;
use super::index::Index;
use super::keep::{Memory, keep_all};
use super::pass::Pass;
use super::settings::DutySettings;

/// The kinds that duties read.
const KINDS: &[Kind] = &[
    DATAPLANE,
    DATAPLANE_INSIGHT,
    HOSTNAME_GENERATOR,
    MESH,
    MESH_EXTERNAL_SERVICE,
    MESH_IDENTITY,
    MESH_MULTI_ZONE_SERVICE,
    MESH_SERVICE,
    MESH_TRUST,
    SECRET,
    WORKLOAD,
];

/// How long to wait before a pass whose commit failed for want of a leader is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Runs the duties of this process until `stop`, in every term in which it leads.
pub async fn run(store: Arc<dyn Store>, settings: DutySettings, stop: CancellationToken) {
    let mut leadership = store.leadership();
    loop {
        let Leadership { term, leads } = *leadership.borrow_and_update();
        let lead = async {
            if leads {
                Leader::new(Arc::clone(&store), settings.clone(), term).run().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = lead => return,
            changed = leadership.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

/// The duties in one term.
struct Leader {
    store: Arc<dyn Store>,
    settings: DutySettings,
    term: u64,
    memory: Memory,
    /// How far changes were followed; `None` before the first pass.
    followed: Option<Followed>,
}

/// A state that was followed, and what is to be looked at in it.
#[derive(Clone)]
pub(super) struct Followed {
    pub(super) revision: Revision,
    pub(super) index: Index,
    pub(super) focus: Focus,
}

impl Followed {
    /// All of a state.
    pub(super) fn anew(state: &State, settings: &DutySettings) -> Self {
        let mut focus = Focus::default();
        let index = Index::of(state, settings, &mut focus);
        Self { revision: state.revision(), index, focus }
    }

    /// Follows the changes up to `state`; all of it anew when a change is about more than its mesh's
    /// resources, or when changes are forgotten.
    pub(super) fn follow(self, state: &State, settings: &DutySettings) -> Self {
        let Some(batches) = state.since(self.revision) else { return Self::anew(state, settings) };
        let Self { mut index, mut focus, .. } = self;
        for change in batches.flat_map(|batch| &batch.changes) {
            if change.key.kind == HOSTNAME_GENERATOR || change.key.kind == MESH {
                return Self::anew(state, settings);
            }
            index.follow(change, state, &mut focus);
        }
        Self { revision: state.revision(), index, focus }
    }
}

/// Whether duties have to look at a change.
fn concerns(change: &Change) -> bool {
    KINDS.contains(&change.key.kind) && !is_heartbeat(change)
}

/// Whether an insight changed without its proxy coming or going.
fn is_heartbeat(change: &Change) -> bool {
    let online = |resource: &Option<Arc<model::Resource>>| {
        resource.as_ref().and_then(|r| r.spec::<DataplaneInsight>()).is_some_and(DataplaneInsight::is_online)
    };
    change.key.kind == DATAPLANE_INSIGHT && online(&change.before) == online(&change.after)
}

/// Why a pass is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Nothing asks for one.
    No,
    /// Something changed.
    Changed,
    /// Time has come to look for what has died.
    Timed,
}

impl Due {
    fn changed(self) -> Self {
        if self == Self::Timed { self } else { Self::Changed }
    }
}

impl Leader {
    fn new(store: Arc<dyn Store>, settings: DutySettings, term: u64) -> Self {
        Self { store, settings, term, memory: Memory::default(), followed: None }
    }

    async fn run(mut self) {
        let mut watch = self.store.watch(None, KindFilter::Only(KINDS.to_vec()));
        let mut due = Due::Timed;
        let mut deadline = None;
        loop {
            if due != Due::No {
                match self.pass(due == Due::Timed).await {
                    Outcome::Done(next) => {
                        // Only a timed pass knows all deadlines.
                        let known = deadline.filter(|_| due != Due::Timed);
                        deadline = known.into_iter().chain(next).min();
                        due = Due::No;
                    }
                    // Something changed under the pass: the feed brings it.
                    Outcome::Conflict => {
                        if watch.next().await.is_none() {
                            return;
                        }
                    }
                    Outcome::Unavailable => tokio::time::sleep(RETRY_PAUSE).await,
                    Outcome::Stopped => return,
                }
            }
            if !self.gather(&mut watch, &mut due, deadline).await {
                return;
            }
        }
    }

    /// Waits until a pass is due; everything that is ready is taken at once.
    async fn gather(&self, watch: &mut Watch, due: &mut Due, deadline: Option<Timestamp>) -> bool {
        loop {
            let waits = *due == Due::No;
            let next =
                async { if waits { Some(watch.next().await) } else { futures::FutureExt::now_or_never(watch.next()) } };
            let event = tokio::select! {
                event = next => event,
                () = until(deadline), if waits => {
                    *due = Due::Timed;
                    return true;
                }
            };
            match event {
                None => return true,
                Some(None) => return false,
                Some(Some(Event::Snapshot(_))) => *due = due.changed(),
                Some(Some(Event::Batch(batch))) => {
                    if batch.changes.iter().any(concerns) {
                        *due = due.changed();
                    }
                }
            }
        }
    }

    /// One pass. What it looked at stays in focus until its writes are committed.
    async fn pass(&mut self, timed: bool) -> Outcome {
        let snapshot = self.store.snapshot();
        let settings = self.settings.clone();
        let (mut memory, followed) = (std::mem::take(&mut self.memory), self.followed.take());
        let computed = tokio::task::spawn_blocking(move || {
            let followed = match followed {
                Some(followed) => followed.follow(&snapshot, &settings),
                None => Followed::anew(&snapshot, &settings),
            };
            let mut pass = Pass::new(snapshot, followed.index.clone(), followed.focus.clone(), Timestamp::now());
            keep_all(&mut pass, timed, &settings, &mut memory);
            (pass, memory, followed)
        })
        .await;
        let (pass, memory, followed) = match computed {
            Ok(computed) => computed,
            Err(error) => {
                tracing::error!(%error, "a duty failed");
                return Outcome::Unavailable;
            }
        };
        self.memory = memory;
        let (txn, deadline, faults) = pass.finish(self.term);
        for fault in faults {
            tracing::warn!(fault, "a duty could not be done");
        }
        let outcome = self.commit(txn, deadline).await;
        let done = matches!(outcome, Outcome::Done(_));
        self.followed = Some(if done { Followed { focus: Focus::default(), ..followed } } else { followed });
        outcome
    }

    async fn commit(&self, txn: Txn, deadline: Option<Timestamp>) -> Outcome {
        if txn.is_empty() {
            return Outcome::Done(deadline);
        }
        match self.store.commit(txn).await {
            Ok(committed) => {
                tracing::debug!(revision = committed.revision.0, "duties done");
                Outcome::Done(deadline)
            }
            Err(CommitError::Guard(failure)) => {
                tracing::debug!(%failure, "duties met a change, going again");
                Outcome::Conflict
            }
            Err(error @ (CommitError::NoLeader { .. } | CommitError::Unknown)) => {
                tracing::warn!(%error, "duties could not be committed");
                Outcome::Unavailable
            }
            Err(error @ CommitError::Refused(_)) => {
                tracing::error!(%error, "duties could not be committed");
                Outcome::Done(deadline)
            }
            Err(CommitError::Stopped(_)) => Outcome::Stopped,
        }
    }
}

/// How a pass ended.
enum Outcome {
    /// All is as it should be until the deadline.
    Done(Option<Timestamp>),
    /// A guard failed.
    Conflict,
    /// The store could not take it now.
    Unavailable,
    /// The store has stopped.
    Stopped,
}

/// Waits until a point in time; forever without one.
async fn until(deadline: Option<Timestamp>) {
    match deadline {
        None => std::future::pending().await,
        Some(at) => {
            let left = at.duration_since(Timestamp::now());
            tokio::time::sleep(Duration::try_from(left).unwrap_or(Duration::ZERO)).await;
        }
    }
}
