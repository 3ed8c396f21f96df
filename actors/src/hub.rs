//! The meeting point of one mesh: its newest view, and the proxies that are told of changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::{Key, Timestamp};
use store::Revision;
use tokio::sync::{Notify, watch};
use xds::session::Rejection;
use xds::{ContentHash, MeshView, PolicyFault, ResourceType, Touched};

use crate::admission::{ProxyId, deregister_later};
use crate::control_plane::ConnectedProxy;
use crate::propagation::{Asked, Audience, News, Propagation, RefusedResource};
use crate::shared::Shared;

/// How long a new stream waits for the former one of its proxy to end: a proxy that reconnects may
/// be faster than the end of its last connection.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(2);

/// A view, as proxies are told of it.
#[derive(Debug)]
pub(crate) struct Published {
    /// The mesh at `revision`.
    pub(crate) view: Arc<MeshView>,
    /// The same, made from nothing, when folds are verified.
    pub(crate) rebuilt: Option<Arc<MeshView>>,
    /// Counts the views of the mesh.
    pub(crate) number: u64,
    /// The last revision that it holds.
    pub(crate) revision: Revision,
    /// Whom it touches.
    pub(crate) touched: Touched,
    /// When the oldest revision that is new in it was proposed.
    pub(crate) committed_at: Timestamp,
    /// Grows whenever something changes that decides which certificates proxies need.
    pub(crate) identity_epoch: u64,
    /// When the view was ready.
    pub(crate) folded_at: Instant,
    /// Kind of the resource that changed; `Mesh` when everything was read anew.
    pub(crate) kind: &'static str,
}

/// The newest view, seen by one proxy: only changes that touch it wake it.
pub(crate) type Offers = watch::Receiver<Option<Arc<Published>>>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Hub {
    mesh: Arc<str>,
    newest: watch::Sender<Option<Arc<Published>>>,
    audience: Mutex<Audience<watch::Sender<Option<Arc<Published>>>>>,
    left: Notify,
    /// Woken whenever the propagation of a revision may be another.
    moved: Arc<Notify>,
    causes: Mutex<Causes>,
}

/// Who is to blame for resources that were refused: found once for all proxies that refuse the same.
type Causes = BTreeMap<(ResourceType, Arc<str>, ContentHash), Arc<[Key]>>;

/// Of how many refused resources that is remembered.
const CAUSES_LEN_MAX: usize = 256;

impl Hub {
    pub(crate) fn new(mesh: Arc<str>, moved: Arc<Notify>) -> Self {
        Self {
            mesh,
            newest: watch::Sender::new(None),
            audience: Mutex::default(),
            left: Notify::new(),
            moved,
            causes: Mutex::default(),
        }
    }

    /// The newest view.
    pub(crate) fn newest(&self) -> Option<Arc<Published>> {
        self.newest.borrow().clone()
    }

    /// Whether no proxy is connected.
    pub(crate) fn is_empty(&self) -> bool {
        self.audience().members().next().is_none()
    }

    /// How many proxies are connected.
    pub(crate) fn len(&self) -> usize {
        self.audience().members().count()
    }

    /// Whether the proxy is connected.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.audience().has(name)
    }

    /// Every connected proxy, by name.
    pub(crate) fn connected(&self) -> Vec<ConnectedProxy> {
        let audience = self.audience();
        let members = audience.members().map(|(name, member)| ConnectedProxy {
            id: ProxyId { mesh: Arc::clone(&self.mesh), name: Arc::clone(name) },
            answered: member.answered(),
            refusals: Arc::clone(member.refusals()),
            faults: Arc::clone(member.faults()),
        });
        members.collect()
    }

    /// Tells the touched proxies of a new view; how many there are.
    pub(crate) fn publish(&self, published: &Arc<Published>, news: &News) -> usize {
        let count = {
            let mut audience = self.audience();
            self.newest.send_replace(Some(Arc::clone(published)));
            audience.publish(news, Instant::now(), |offers, is_touched| {
                if is_touched || published.rebuilt.is_some() {
                    drop(offers.send_replace(Some(Arc::clone(published))));
                }
            })
        };
        self.moved.notify_waiters();
        count
    }

    /// The mesh has seen `revision`, which changes nothing in it.
    pub(crate) fn pass(&self, revision: Revision) {
        self.audience().pass(revision);
        self.moved.notify_waiters();
    }

    /// The mesh is deleted.
    pub(crate) fn deleted(&self) {
        self.moved.notify_waiters();
    }

    /// What the proxy answered so far, and what it refuses now if that is news.
    pub(crate) fn answered(&self, seat: &Seat, revision: Option<Revision>, refusals: Option<Arc<[RefusedResource]>>) {
        self.audience().answered(&seat.id.name, seat.stream, revision, refusals);
        self.moved.notify_waiters();
    }

    /// The stored resources whose change may have brought what the proxy refused; `None` when that is
    /// not known.
    pub(crate) fn changed(&self, seat: &Seat, refused: &Rejection) -> Option<Vec<Key>> {
        self.audience().changed(&seat.id.name, |revision| refused.covers(revision))
    }

    /// Who was found to blame for a refused resource.
    pub(crate) fn causes(&self, refused: &Rejection) -> Option<Arc<[Key]>> {
        let causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        causes.get(&(refused.ty, Arc::clone(&refused.name), refused.version)).cloned()
    }

    /// Remembers who is to blame for a refused resource.
    pub(crate) fn blame(&self, refused: &Rejection, found: &Arc<[Key]>) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        if causes.len() >= CAUSES_LEN_MAX {
            causes.clear();
        }
        causes.insert((refused.ty, Arc::clone(&refused.name), refused.version), Arc::clone(found));
    }

    /// What could not be applied to the proxy.
    pub(crate) fn faults(&self, seat: &Seat, faults: &[PolicyFault]) {
        self.audience().faults(&seat.id.name, seat.stream, faults);
    }

    /// What this mesh knows, added to `total`.
    pub(crate) fn propagation(&self, asked: Asked, total: &mut Propagation) {
        self.audience().propagation(&self.mesh, asked, Instant::now(), total);
    }

    /// Whether there is nothing to wait for in this mesh.
    pub(crate) fn is_settled(&self, asked: Asked) -> bool {
        self.audience().is_settled(asked)
    }

    fn audience(&self) -> MutexGuard<'_, Audience<watch::Sender<Option<Arc<Published>>>>> {
        self.audience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, name: &Arc<str>, stream: u64) -> Option<Offers> {
        let mut audience = self.audience();
        let (offers, receiver) = watch::channel(self.newest());
        audience.join(Arc::clone(name), stream, offers, Instant::now()).then_some(receiver)
    }

    fn leave(&self, name: &str, stream: u64) {
        self.audience().leave(name, stream);
        self.left.notify_waiters();
        self.moved.notify_waiters();
    }
}

/// The place of a connected proxy. It is given up when this is dropped, however its actor ends.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Whose place it is.
    pub(crate) id: ProxyId,
    /// Number of the stream within this process.
    pub(crate) stream: u64,
    /// Views that touch the proxy.
    pub(crate) offers: Offers,
    hub: Arc<Hub>,
    shared: Arc<Shared>,
    deregisters: bool,
}

impl Seat {
    /// Takes the place of the proxy; `None` when another stream has it and keeps it.
    pub(crate) async fn take(shared: &Arc<Shared>, id: ProxyId) -> Option<Self> {
        let stream = shared.next_stream();
        let hub = shared.hub(&id.mesh);
        let joined = async {
            loop {
                let left = hub.left.notified();
                if let Some(offers) = hub.join(&id.name, stream) {
                    return offers;
                }
                left.await;
            }
        };
        let offers = tokio::time::timeout(HANDOVER_TIMEOUT, joined).await.ok()?;
        Some(Self { id, stream, offers, hub, shared: Arc::clone(shared), deregisters: false })
    }

    /// The mesh of the proxy.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// When the stream has ended, the Dataplane goes as well after a while.
    pub(crate) fn deregisters(&mut self) {
        self.deregisters = true;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.leave(&self.id.name, self.stream);
        self.shared.insights.disconnected(self.stream, Timestamp::now());
        if self.deregisters {
            self.shared.spawn(deregister_later(Arc::clone(&self.shared), self.id.clone()));
        }
    }
}
