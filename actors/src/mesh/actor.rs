//! The actor of one mesh: folds the feed into views and tells the proxies that each one touches.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures::StreamExt;
use model::Timestamp;
use store::{ChangeBatch, Event, KindFilter, Revision, State};
use tokio::sync::oneshot;
use tracing::{debug, error};

use xds::MeshView;
use xds::view::ViewSettings;

use super::addresses::{Addresses, Found};
use super::view;
use crate::hub::{Hub, Published};
use crate::names::Names;
use crate::propagation::{News, Step};
use crate::shared::Shared;

/// How many batches are folded before proxies are told: a burst costs them one view.
const BURST_LEN_MAX: usize = 64;

/// How long one look at names may take; names that are not found by then are looked up again later.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How many names are looked up at a time.
const LOOKUPS_MAX: usize = 16;
/// Shortest pause between looks at names, whatever the settings say.
const NAMES_TTL_MIN: Duration = Duration::from_secs(1);

/// What is ready on the feed.
struct Burst(Vec<Event>);

/// See the module.
pub(crate) struct MeshActor {
    mesh: Arc<str>,
    hub: Arc<Hub>,
    settings: Arc<ViewSettings>,
    view: Option<Arc<MeshView>>,
    /// See [`Published::identity_epoch`].
    identity_epoch: u64,
    /// The last revision that was seen.
    revision: Revision,
    addresses: Addresses,
    names: Arc<dyn Names>,
    names_ttl: Duration,
    /// When names are looked up next.
    next_look: Option<SpawnHandle>,
    /// Where differences are told when each view is compared with one that is built anew.
    verifier: Option<Arc<Shared>>,
    /// Dropped with the actor, however it ends.
    _alive: oneshot::Sender<()>,
}

impl MeshActor {
    /// Starts it; the receiver fails when it has ended.
    pub(crate) fn start(shared: &Arc<Shared>, mesh: &Arc<str>) -> (Addr<Self>, oneshot::Receiver<()>) {
        let (alive, ended) = oneshot::channel();
        let events = shared.store.watch(None, KindFilter::All).into_stream().ready_chunks(BURST_LEN_MAX).map(Burst);
        let hub = shared.hub(mesh);
        let (settings, mesh) = (view::settings(&shared.settings), Arc::clone(mesh));
        let names = Arc::clone(&shared.settings.names);
        let names_ttl = shared.settings.names_ttl.max(NAMES_TTL_MIN);
        let verifier = shared.settings.verify_views.then(|| Arc::clone(shared));
        let actor = shared.arbiters.spawn(move |ctx: &mut Context<Self>| {
            ctx.add_stream(events.boxed());
            Self {
                mesh,
                hub,
                settings,
                view: None,
                identity_epoch: 0,
                revision: Revision(0),
                addresses: Addresses::default(),
                names,
                names_ttl,
                next_look: None,
                verifier,
                _alive: alive,
            }
        });
        (actor, ended)
    }

    fn tell(&self, folded: Folded) {
        let Some(view) = &self.view else { return };
        let rebuilt = self.verifier.as_ref().map(|shared| Arc::new(self.rebuilt(view, shared)));
        let published = Arc::new(Published {
            view: Arc::clone(view),
            rebuilt,
            number: self.hub.newest().map_or(0, |newest| newest.number + 1),
            revision: folded.news.revision,
            touched: folded.news.touched(),
            committed_at: folded.committed_at,
            identity_epoch: self.identity_epoch,
            folded_at: Instant::now(),
            kind: folded.kind,
        });
        let touched = self.hub.publish(&published, &folded.news);
        metrics::histogram!(crate::metrics::PROPAGATION_HOP, "hop" => "commit").record(folded.commit_s);
        metrics::histogram!(crate::metrics::PROPAGATION_HOP, "hop" => "fold")
            .record(folded.began_at.elapsed().as_secs_f64());
        metrics::counter!(crate::metrics::REGENERATED, "mesh" => self.mesh.to_string()).increment(touched as u64);
        debug!(mesh = %self.mesh, revision = %folded.news.revision, touched, "view");
    }

    /// The view made anew from the same resources. A difference is a mistake of the fold: it is told.
    fn rebuilt(&self, view: &MeshView, shared: &Shared) -> MeshView {
        let rebuilt = view.rebuilt();
        if let Some(difference) = view.difference(&rebuilt) {
            shared.found_difference("view");
            error!(mesh = %self.mesh, difference, "the view is not the one that follows from the store");
        }
        rebuilt
    }

    /// Takes in one batch; `None` when the mesh has nothing of it.
    fn fold(&mut self, batch: &ChangeBatch) -> Option<Step> {
        self.revision = batch.revision;
        self.identity_epoch += u64::from(view::decides_identities(batch));
        let view = self.view.as_deref().filter(|_| view::concerns(&self.mesh, batch))?;
        let translated = self.addresses.translated(&batch.changes);
        let (view, touched) = view::fold(view, translated.as_deref().unwrap_or(&batch.changes));
        self.view = Some(Arc::new(view));
        let changed = batch.changes.iter().map(|change| &change.key).filter(|key| MeshView::holds(&self.mesh, key));
        Some(Step { revision: batch.revision, touched, changed: changed.cloned().collect() })
    }

    /// The picture of a whole state.
    fn build(&self, state: &State) -> MeshView {
        let own = state.iter().filter(|resource| MeshView::holds(&self.mesh, &resource.key));
        let resolved: Vec<_> = own.filter_map(|resource| self.addresses.resolved(resource)).collect();
        MeshView::build(&self.mesh, &resolved, &self.settings)
    }

    /// Looks up names, and takes what is found into the picture.
    fn look_up(&mut self, names: BTreeSet<Arc<str>>, ctx: &mut Context<Self>) {
        if names.is_empty() {
            return;
        }
        let looking = look_up(Arc::clone(&self.names), names);
        ctx.spawn(looking.into_actor(self).map(|found, actor, _| actor.take_found(&found)));
        self.look_again(ctx);
    }

    /// Looks at all names when they are due.
    fn look_again(&mut self, ctx: &mut Context<Self>) {
        if self.next_look.is_none() && !self.addresses.names().is_empty() {
            self.next_look = Some(ctx.run_later(self.names_ttl, |actor, ctx| {
                actor.next_look = None;
                actor.look_up(actor.addresses.names(), ctx);
            }));
        }
    }

    fn take_found(&mut self, found: &[Found]) {
        let moved = self.addresses.learn(found);
        let (Some(view), Some(first)) = (self.view.as_deref(), moved.first()) else { return };
        let kind = first.key.kind.name;
        let (view, touched) = view::fold(view, &moved);
        self.view = Some(Arc::new(view));
        let mut folded = Folded::begin(self.revision, Timestamp::now(), Instant::now(), kind);
        folded.news.beside = touched;
        self.tell(folded);
    }

    /// Folds what is ready into the picture and tells of it.
    fn take(&mut self, burst: Burst, ctx: &mut Context<Self>) {
        let began_at = Instant::now();
        let mut folded: Option<Folded> = None;
        for event in burst.0 {
            match event {
                Event::Snapshot(state) => {
                    self.identity_epoch += 1;
                    self.view = Some(Arc::new(self.build(&state)));
                    self.revision = state.revision();
                    let mut anew = Folded::begin(self.revision, Timestamp::now(), began_at, "Mesh");
                    anew.news.anew = Some(self.revision);
                    folded = Some(anew);
                }
                Event::Batch(batch) => match (self.fold(&batch), &mut folded) {
                    (None, None) => self.hub.pass(batch.revision),
                    (None, Some(folded)) => folded.news.revision = batch.revision,
                    (Some(step), folded) => {
                        let kind = step.changed.first().map_or("Mesh", |key| key.kind.name);
                        let begin = || Folded::begin(batch.revision, batch.at, began_at, kind);
                        let folded = folded.get_or_insert_with(begin);
                        folded.news.revision = batch.revision;
                        folded.news.steps.push(step);
                    }
                },
            }
        }
        if let Some(folded) = folded {
            self.tell(folded);
        }
        let new = self.addresses.take_new();
        self.look_up(new, ctx);
        self.look_again(ctx);
    }
}

/// The first address of each name in the order of their texts, as Kuma chooses it.
async fn look_up(names: Arc<dyn Names>, wanted: BTreeSet<Arc<str>>) -> Vec<Found> {
    let look = |name: Arc<str>| {
        let names = Arc::clone(&names);
        async move {
            let found = tokio::time::timeout(LOOKUP_TIMEOUT, names.look_up(&name)).await.unwrap_or_default();
            (name, found.into_iter().min_by_key(IpAddr::to_string))
        }
    };
    futures::stream::iter(wanted.into_iter().map(look)).buffered(LOOKUPS_MAX).collect().await
}

/// What a burst brought.
struct Folded {
    news: News,
    /// When its oldest revision was proposed.
    committed_at: Timestamp,
    /// How long that revision took to be here, in seconds.
    commit_s: f64,
    /// When folding began.
    began_at: Instant,
    /// Kind of the first resource that changed.
    kind: &'static str,
}

impl Folded {
    fn begin(revision: Revision, committed_at: Timestamp, began_at: Instant, kind: &'static str) -> Self {
        let commit_s = Timestamp::now().duration_since(committed_at).as_secs_f64().max(0.0);
        Self { news: News::of(revision), committed_at, commit_s, began_at, kind }
    }
}

impl Actor for MeshActor {
    type Context = Context<Self>;
}

impl StreamHandler<Burst> for MeshActor {
    fn handle(&mut self, burst: Burst, ctx: &mut Self::Context) {
        let start = burst.0.iter().rev().find_map(|event| match event {
            Event::Snapshot(state) => Some(Arc::clone(state)),
            Event::Batch(_) => None,
        });
        if let Some(state) = start {
            let own = state.iter().filter(|resource| MeshView::holds(&self.mesh, &resource.key));
            self.addresses.begin(own);
            let unknown = self.addresses.take_new();
            if !unknown.is_empty() {
                // Proxies that reconnect to a new process must not lose endpoints meanwhile.
                let looking = look_up(Arc::clone(&self.names), unknown).into_actor(self);
                ctx.wait(looking.map(|found, actor, ctx| {
                    drop(actor.addresses.learn(&found));
                    actor.take(burst, ctx);
                }));
                return;
            }
        }
        self.take(burst, ctx);
    }
}

/// The mesh is gone.
pub(crate) struct MeshDeleted;

impl Message for MeshDeleted {
    type Result = ();
}

impl Handler<MeshDeleted> for MeshActor {
    type Result = ();

    fn handle(&mut self, _: MeshDeleted, ctx: &mut Self::Context) {
        self.hub.deleted();
        ctx.stop();
    }
}
