//! The meeting point of one mesh: its newest view, and the proxies that are told of changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::Timestamp;
use store::Revision;
use tokio::sync::{Notify, watch};
use xds::session::Rejection;
use xds::{MeshView, PolicyFault, Touched};

use crate::admission::{ProxyId, deregister_later};
use crate::control_plane::ConnectedProxy;
use crate::propagation::{Audience, Propagation};
use crate::shared::Shared;

/// How long a new stream waits for the former one of its proxy to end: a proxy that reconnects may
/// be faster than the end of its last connection.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(2);

/// A view, as proxies are told of it.
#[derive(Debug)]
pub(crate) struct Published {
    /// The mesh at `revision`.
    pub(crate) view: Arc<MeshView>,
    /// The first revision that is new in it.
    pub(crate) first: Revision,
    /// The last revision that it holds.
    pub(crate) revision: Revision,
    /// When that revision was proposed.
    pub(crate) committed_at: Timestamp,
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
}

impl Hub {
    pub(crate) fn new(mesh: Arc<str>) -> Self {
        Self { mesh, newest: watch::Sender::new(None), audience: Mutex::default(), left: Notify::new() }
    }

    /// The newest view.
    pub(crate) fn newest(&self) -> Option<Arc<Published>> {
        self.newest.borrow().clone()
    }

    /// Whether no proxy is connected.
    pub(crate) fn is_empty(&self) -> bool {
        self.audience().members().next().is_none()
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
            rejections: Arc::clone(member.rejections()),
            faults: Arc::clone(member.faults()),
        });
        members.collect()
    }

    /// Tells the touched proxies of a new view; how many there are.
    pub(crate) fn publish(&self, published: &Arc<Published>, touched: &Touched) -> usize {
        let mut audience = self.audience();
        self.newest.send_replace(Some(Arc::clone(published)));
        audience.publish(
            (published.first, published.revision),
            Instant::now(),
            |name| touched.contains(name),
            |offers| drop(offers.send_replace(Some(Arc::clone(published)))),
        )
    }

    /// The mesh has seen `revision`, which changes nothing in it.
    pub(crate) fn pass(&self, revision: Revision) {
        self.audience().publish((revision, revision), Instant::now(), |_| false, |_| {});
    }

    /// The proxy answered everything up to `revision`.
    pub(crate) fn answered(&self, seat: &Seat, revision: Revision, rejections: Option<Arc<[Rejection]>>) {
        self.audience().answered(&seat.id.name, seat.stream, revision, rejections);
    }

    /// What could not be applied to the proxy.
    pub(crate) fn faults(&self, seat: &Seat, faults: &[PolicyFault]) {
        self.audience().faults(&seat.id.name, seat.stream, faults);
    }

    /// What this mesh knows of a revision, added to `total`.
    pub(crate) fn propagation(&self, revision: Revision, total: &mut Propagation) {
        self.audience().propagation(&self.mesh, revision, Instant::now(), total);
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
