//! Runs the duties where the leader is: when the feed brings something that concerns them, when a
//! deadline of theirs comes, and at first.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use model::kinds::dataplane_insight::DataplaneInsight;
use model::registry::{
    DATAPLANE, DATAPLANE_INSIGHT, HOSTNAME_GENERATOR, MESH, MESH_EXTERNAL_SERVICE, MESH_IDENTITY,
    MESH_MULTI_ZONE_SERVICE, MESH_SERVICE, MESH_TRUST, SECRET, WORKLOAD,
};
use model::{Change, Kind};
use store::{CommitError, Event, KindFilter, Leadership, Snapshot, Store, Txn, Watch};
use tokio_util::sync::CancellationToken;

use super::insights::{Pulses, close_dead, collect_garbage};
use super::pass::Pass;
use super::settings::DutySettings;
use super::vips::LastGiven;
use super::{hostnames, identities, mesh_services, multi_zone, service_status, vips, workloads};

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
}

/// What duties remember between passes.
#[derive(Default)]
struct Memory {
    last_given: LastGiven,
    pulses: Pulses,
}

/// Which meshes a pass looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    All,
    Meshes(BTreeSet<Arc<str>>),
}

impl Scope {
    fn none() -> Self {
        Self::Meshes(BTreeSet::new())
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Meshes(meshes) if meshes.is_empty())
    }

    fn add(&mut self, change: &Change) {
        let kind = change.key.kind;
        if kind == HOSTNAME_GENERATOR {
            *self = Self::All;
        } else if let Self::Meshes(meshes) = self
            && KINDS.contains(&kind)
            && !is_heartbeat(change)
        {
            meshes.insert(Arc::clone(if kind == MESH { &change.key.name } else { &change.key.mesh }));
        }
    }

    fn meshes(&self, snapshot: &Snapshot) -> Vec<Arc<str>> {
        let exist = snapshot.of_kind(MESH).map(|r| &r.key.name);
        match self {
            Self::All => exist.cloned().collect(),
            Self::Meshes(meshes) => exist.filter(|name| meshes.contains(*name)).cloned().collect(),
        }
    }
}

/// Whether an insight changed without its proxy coming or going.
fn is_heartbeat(change: &Change) -> bool {
    let online = |resource: &Option<Arc<model::Resource>>| {
        resource.as_ref().and_then(|r| r.spec::<DataplaneInsight>()).is_some_and(DataplaneInsight::is_online)
    };
    change.key.kind == DATAPLANE_INSIGHT && online(&change.before) == online(&change.after)
}

impl Leader {
    fn new(store: Arc<dyn Store>, settings: DutySettings, term: u64) -> Self {
        Self { store, settings, term, memory: Memory::default() }
    }

    async fn run(mut self) {
        let mut watch = self.store.watch(None, KindFilter::Only(KINDS.to_vec()));
        let mut scope = Scope::All;
        let mut deadline = None;
        loop {
            if !scope.is_empty() {
                match self.pass(&scope).await {
                    Outcome::Done(next) => {
                        // Only a pass over everything knows all deadlines.
                        let known = deadline.filter(|_| scope != Scope::All);
                        deadline = known.into_iter().chain(next).min();
                        scope = Scope::none();
                    }
                    // Something changed under the pass: the feed brings it.
                    Outcome::Conflict => match watch.next().await {
                        Some(Event::Snapshot(_)) => scope = Scope::All,
                        Some(Event::Batch(batch)) => batch.changes.iter().for_each(|change| scope.add(change)),
                        None => return,
                    },
                    Outcome::Unavailable => tokio::time::sleep(RETRY_PAUSE).await,
                    Outcome::Stopped => return,
                }
            }
            if !self.gather(&mut watch, &mut scope, deadline).await {
                return;
            }
        }
    }

    /// Waits for what the next pass is about; everything that is ready is taken at once.
    async fn gather(&self, watch: &mut Watch, scope: &mut Scope, deadline: Option<Timestamp>) -> bool {
        let mut waited_for = !scope.is_empty();
        loop {
            let next = async {
                if waited_for { futures::FutureExt::now_or_never(watch.next()) } else { Some(watch.next().await) }
            };
            let event = tokio::select! {
                event = next => event,
                () = until(deadline), if !waited_for => {
                    *scope = Scope::All;
                    return true;
                }
            };
            match event {
                None => return true,
                Some(None) => return false,
                Some(Some(Event::Snapshot(_))) => *scope = Scope::All,
                Some(Some(Event::Batch(batch))) => batch.changes.iter().for_each(|change| scope.add(change)),
            }
            waited_for |= !scope.is_empty();
        }
    }

    async fn pass(&mut self, scope: &Scope) -> Outcome {
        let snapshot = self.store.snapshot();
        let meshes = scope.meshes(&snapshot);
        let timed = *scope == Scope::All;
        let settings = self.settings.clone();
        let mut memory = std::mem::take(&mut self.memory);
        let computed = tokio::task::spawn_blocking(move || {
            let mut pass = Pass::new(snapshot, Timestamp::now());
            keep_all(&mut pass, &meshes, timed, &settings, &mut memory);
            (pass, memory)
        })
        .await;
        let (pass, memory) = match computed {
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
        self.commit(txn, deadline).await
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

/// All duties over the given meshes; those that look for what has died only in a `timed` pass.
fn keep_all(pass: &mut Pass, meshes: &[Arc<str>], timed: bool, settings: &DutySettings, memory: &mut Memory) {
    if settings.global {
        return;
    }
    if timed {
        close_dead(pass, settings, &mut memory.pulses);
        collect_garbage(pass, settings);
    }
    for mesh in meshes {
        identities::keep(pass, mesh, settings);
        mesh_services::keep(pass, mesh, settings);
        workloads::keep(pass, mesh, settings);
    }
    vips::keep(pass, settings, &mut memory.last_given);
    for mesh in meshes {
        multi_zone::keep(pass, mesh);
        hostnames::keep(pass, mesh, settings);
        service_status::keep(pass, mesh, settings);
        workloads::keep_status(pass, mesh);
    }
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
