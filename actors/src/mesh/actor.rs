//! The actor of one mesh: folds the feed into views and tells the proxies that each one touches.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use futures::StreamExt;
use model::Timestamp;
use store::{Event, KindFilter, Revision};
use tokio::sync::oneshot;
use tracing::debug;

use xds::view::ViewSettings;
use xds::{MeshView, Touched};

use super::view;
use crate::hub::{Hub, Published};
use crate::shared::Shared;

/// How many batches are folded before proxies are told: a burst costs them one view.
const BURST_LEN_MAX: usize = 64;

/// What is ready on the feed.
struct Burst(Vec<Event>);

/// See the module.
pub(crate) struct MeshActor {
    mesh: Arc<str>,
    hub: Arc<Hub>,
    settings: Arc<ViewSettings>,
    view: Option<Arc<MeshView>>,
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
        let actor = shared.arbiters.spawn(move |ctx: &mut Context<Self>| {
            ctx.add_stream(events.boxed());
            Self { mesh, hub, settings, view: None, _alive: alive }
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
    fn handle(&mut self, burst: Burst, _: &mut Self::Context) {
        let mut news: Option<News> = None;
        for event in burst.0 {
            match event {
                Event::Snapshot(state) => {
                    self.view = Some(Arc::new(view::build(&state, &self.mesh, &self.settings)));
                    let last = state.revision();
                    let committed_at = Timestamp::now();
                    news = Some(News { first: Revision(0), last, committed_at, kind: "Mesh", touched: Touched::All });
                }
                Event::Batch(batch) => {
                    let Some(view) = self.view.as_deref().filter(|_| view::concerns(&self.mesh, &batch)) else {
                        match &mut news {
                            Some(news) => news.last = batch.revision,
                            None => self.hub.pass(batch.revision),
                        }
                        continue;
                    };
                    let (view, touched) = view::fold(view, &batch);
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
