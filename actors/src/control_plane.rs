//! The handle of the proxies' side of a control plane.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::health::v3::health_discovery_service_server::HealthDiscoveryServiceServer;
use model::registry::MESH;
use store::{KindFilter, Revision, Store};
use tokio_util::sync::CancellationToken;
use xds::{MeshView, PolicyFault};

use crate::admission::ProxyId;
use crate::ads::AdsService;
use crate::health::{self, HealthService};
use crate::insights;
use crate::mesh;
use crate::propagation::{Asked, Propagation, RefusedResource};
use crate::recent::RecentPropagation;
use crate::runtime::{Arbiters, RuntimeError};
use crate::settings::Settings;
use crate::shared::Shared;

/// How often an orderly end looks whether all streams are gone.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// A connected proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedProxy {
    /// Which one.
    pub id: ProxyId,
    /// The newest revision that touched it and of which it answered everything; `None` before its
    /// first configuration.
    pub answered: Option<Revision>,
    /// What it refused of its configuration, with its words and with who is to blame.
    pub refusals: Arc<[RefusedResource]>,
    /// Policies and other resources that could not be applied to it; the rest is in force.
    pub faults: Arc<[PolicyFault]>,
}

/// The proxies' side of a control plane: actors of meshes and of connected proxies. Cloning shares it.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    shared: Arc<Shared>,
}

impl ControlPlane {
    /// Starts it on a runtime of tokio.
    ///
    /// # Errors
    /// When there are no threads for the actors.
    pub fn start(store: Arc<dyn Store>, settings: Settings) -> Result<Self, RuntimeError> {
        let arbiters = Arbiters::start(settings.arbiters)?;
        Ok(Self::start_on(store, settings, arbiters))
    }

    /// Starts it on the current thread, which must run a `LocalSet` of tokio: deterministic tests.
    pub fn start_local(store: Arc<dyn Store>, settings: Settings) -> Self {
        Self::start_on(store, settings, Arbiters::Local)
    }

    fn start_on(store: Arc<dyn Store>, settings: Settings, arbiters: Arbiters) -> Self {
        let shared = Arc::new(Shared::new(settings, store, arbiters));
        shared.spawn(mesh::supervise(Arc::clone(&shared)));
        shared.spawn(insights::write(Arc::clone(&shared)));
        if shared.settings.health.is_some() {
            shared.spawn(health::follow(Arc::clone(&shared)));
        }
        Self { shared }
    }

    /// The gRPC service that proxies connect to.
    pub fn ads(&self) -> AdsService {
        AdsService::new(Arc::clone(&self.shared))
    }

    /// The gRPC service to which proxies report health; `None` when they are not asked to.
    pub fn health(&self) -> Option<HealthDiscoveryServiceServer<HealthService>> {
        self.shared.settings.health?;
        Some(HealthService::server(Arc::clone(&self.shared)))
    }

    /// The newest picture of a mesh and its revision; `None` before there is one.
    pub fn view(&self, mesh: &str) -> Option<(Arc<MeshView>, Revision)> {
        let published = self.shared.hub(&mesh.into()).newest()?;
        Some((Arc::clone(&published.view), published.revision))
    }

    /// The proxies that are connected to this process, by mesh and name.
    pub fn proxies(&self) -> Vec<ConnectedProxy> {
        self.shared.hubs().iter().flat_map(|hub| hub.connected()).collect()
    }

    /// Who of the proxies that are connected to this process has `revision`.
    pub fn propagation(&self, revision: Revision) -> Propagation {
        self.ask(Asked::One(revision))
    }

    /// Who of the proxies that are connected to this process has everything that there is.
    pub fn standing(&self) -> Propagation {
        self.ask(Asked::Upto(self.shared.store.snapshot().revision()))
    }

    fn ask(&self, asked: Asked) -> Propagation {
        let state = self.shared.store.snapshot();
        let mut total = Propagation { folded: state.revision() >= asked.revision(), ..Propagation::default() };
        for mesh in state.of_kind(MESH) {
            self.shared.hub(&mesh.key.name).propagation(asked, &mut total);
        }
        total
    }

    /// Waits until every connected proxy that `revision` concerns has answered it, or one has refused
    /// something that it brought; without a revision, until that holds of everything that there is now.
    /// Nothing is asked twice in vain: each answer of a proxy wakes whoever waits.
    pub async fn settled(&self, revision: Option<Revision>) {
        let store = &self.shared.store;
        let asked = revision.map_or_else(|| Asked::Upto(store.snapshot().revision()), Asked::One);
        let mut feed = store.watch(None, KindFilter::All);
        while store.snapshot().revision() < asked.revision() {
            if feed.next().await.is_none() {
                return;
            }
        }
        drop(feed);
        loop {
            let moved = self.shared.moved.notified();
            let state = store.snapshot();
            if state.of_kind(MESH).all(|mesh| self.shared.hub(&mesh.key.name).is_settled(asked)) {
                return;
            }
            moved.await;
        }
    }

    /// How many differences were found between what is incremental and what is made from nothing; zero
    /// also when [`Settings::verify_views`] is off.
    pub fn differences(&self) -> u64 {
        self.shared.differences()
    }

    /// How many proxies are connected to this process.
    pub fn proxy_count(&self) -> usize {
        self.shared.hubs().iter().map(|hub| hub.len()).sum()
    }

    /// How long the latest changes took from their commit to the answer of a proxy of this process.
    pub fn recent_propagation(&self) -> RecentPropagation {
        self.shared.recent.percentiles()
    }

    /// Ends all streams, so that proxies connect elsewhere, writes their last status, and ends the
    /// actors; at the latest after `deadline`. Dataplanes stay registered.
    pub async fn drain(&self, deadline: Duration) {
        self.shared.draining.cancel();
        let all_gone = async {
            while self.shared.hubs().iter().any(|hub| !hub.is_empty()) {
                tokio::time::sleep(DRAIN_STEP).await;
            }
        };
        // What is still connected after the deadline is cut off.
        drop(tokio::time::timeout(deadline, all_gone).await);
        self.shared.finish_writing(deadline).await;
        self.shared.arbiters.stop();
    }

    /// Is cancelled when the control plane begins to drain.
    pub fn draining(&self) -> CancellationToken {
        self.shared.draining.clone()
    }
}
