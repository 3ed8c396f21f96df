//! The actor of one mesh: folds the feed into views and tells the proxies that each one touches.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures::StreamExt;
use model::Timestamp;
use store::{Event, KindFilter, Revision, State};
use tokio::sync::oneshot;
use tracing::debug;

use xds::view::ViewSettings;
use xds::{MeshView, Touched};

use super::addresses::{Addresses, Found};
use super::view;
use crate::hub::{Hub, Published};
use crate::names::Names;
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
    /// The last revision that was seen.
    revision: Revision,
    addresses: Addresses,
    names: Arc<dyn Names>,
    names_ttl: Duration,
    /// When names are looked up next.
    next_look: Option<SpawnHandle>,
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
        let actor = shared.arbiters.spawn(move |ctx: &mut Context<Self>| {
            ctx.add_stream(events.boxed());
            Self {
                mesh,
                hub,
                settings,
                view: None,
                revision: Revision(0),
                addresses: Addresses::default(),
                names,
                names_ttl,
                next_look: None,
                _alive: alive,
            }
        });
        (actor, ended)
    }

    fn tell(&self, news: News) {
        let Some(view) = &self.view else { return };
        let published = Arc::new(Published {
            view: Arc::clone(view),
            first: news.first,
            revision: news.last,
            committed_at: news.committed_at,
            folded_at: Instant::now(),
            kind: news.kind,
        });
        let touched = self.hub.publish(&published, &news.touched);
        let commit_to_view = Timestamp::now().duration_since(news.committed_at).as_secs_f64().max(0.0);
        metrics::histogram!(crate::metrics::PROPAGATION_HOP, "hop" => "fold").record(commit_to_view);
        metrics::counter!(crate::metrics::REGENERATED, "mesh" => self.mesh.to_string()).increment(touched as u64);
        debug!(mesh = %self.mesh, revision = %news.last, touched, "view");
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
        let (revision, committed_at) = (self.revision, Timestamp::now());
        self.tell(News { first: revision, last: revision, committed_at, kind, touched });
    }

    /// Folds what is ready into the picture and tells of it.
    fn take(&mut self, burst: Burst, ctx: &mut Context<Self>) {
        let mut news: Option<News> = None;
        for event in burst.0 {
            match event {
                Event::Snapshot(state) => {
                    self.view = Some(Arc::new(self.build(&state)));
                    let last = state.revision();
                    self.revision = last;
                    let committed_at = Timestamp::now();
                    news = Some(News { first: Revision(0), last, committed_at, kind: "Mesh", touched: Touched::All });
                }
                Event::Batch(batch) => {
                    self.revision = batch.revision;
                    let Some(view) = self.view.as_deref().filter(|_| view::concerns(&self.mesh, &batch)) else {
                        match &mut news {
                            Some(news) => news.last = batch.revision,
                            None => self.hub.pass(batch.revision),
                        }
                        continue;
                    };
                    let translated = self.addresses.translated(&batch.changes);
                    let (view, touched) = view::fold(view, translated.as_deref().unwrap_or(&batch.changes));
                    self.view = Some(Arc::new(view));
                    let kind = batch.changes.first().map_or("Mesh", |change| change.key.kind.name);
                    news = Some(match news {
                        None => {
                            News { first: batch.revision, last: batch.revision, committed_at: batch.at, kind, touched }
                        }
                        Some(news) => News { last: batch.revision, touched: news.touched.or(touched), ..news },
                    });
                }
            }
        }
        if let Some(news) = news {
            self.tell(news);
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
struct News {
    first: Revision,
    last: Revision,
    committed_at: Timestamp,
    kind: &'static str,
    touched: Touched,
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
        ctx.stop();
    }
}
