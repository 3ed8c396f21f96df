//! The delta xDS conversation with one proxy, as a state machine: configurations and requests go
//! in, responses come out.
//!
//! The session remembers what the proxy has, and nothing of what it was once offered: a response
//! is the difference between the newest configuration and the proxy, found when there is room to
//! send it. Superseded offers therefore collapse, and no response speaks of names that the proxy
//! dropped meanwhile. At most one response of a type is unanswered at a time, which bounds what a
//! slow proxy can cost.
//!
//! Order across types is make before break: clusters, endpoints, listeners, routes, secrets, then
//! removals. A type waits while an earlier one has something to send, because a cluster that
//! changes after its endpoints would wait for them for ever. Listeners also wait for the answer to
//! clusters: Envoy asks for the endpoints of new clusters before it gives that answer.

mod exchange;
mod held;
mod message;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use message::{CloseReason, DeltaRequest, DeltaResponse, Heard, MESSAGE_LEN_MAX, Nonce, Rejection, Span};

use crate::proxy_config::{ProxyConfig, ResourceType, TypeConfig};
use exchange::Exchange;

/// How many names of one type a proxy may hold or ask for.
const NAMES_LEN_MAX: usize = 1 << 17;

/// The order in which removals leave: first what refers, then what is referred to.
const REMOVAL_ORDER: [ResourceType; 5] =
    [ResourceType::Listener, ResourceType::Route, ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Secret];

/// The conversation with one proxy over one stream.
#[derive(Clone, Debug)]
pub struct Session {
    offer: Option<Offer>,
    /// By type, in the order of [`ResourceType::ALL`].
    exchanges: [Exchange; ResourceType::ALL.len()],
    last_nonce: u64,
    /// Clusters that were sent before the proxy told which endpoints it has from a former stream.
    stale_endpoints: BTreeSet<Arc<str>>,
}

#[derive(Clone, Debug)]
struct Offer {
    revision: u64,
    config: Arc<ProxyConfig>,
}

impl Offer {
    fn of(&self, ty: ResourceType) -> &TypeConfig {
        self.config.of(ty)
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Session {
    /// A conversation in which nothing was said.
    pub fn new() -> Self {
        Self {
            offer: None,
            exchanges: ResourceType::ALL.map(Exchange::new),
            last_nonce: 0,
            stale_endpoints: BTreeSet::new(),
        }
    }

    /// The mesh is at `revision`, which has nothing to say to this proxy.
    pub fn pass(&mut self, revision: u64) {
        if let Some(offer) = &mut self.offer {
            offer.revision = offer.revision.max(revision);
            self.settle();
        }
    }

    /// What the proxy should run from now on, and the revision of the mesh that says so.
    pub fn offer(&mut self, revision: u64, config: Arc<ProxyConfig>) {
        let next = Offer { revision, config };
        let former = self.offer.take();
        let nothing = TypeConfig::default();
        let span = Span { after: former.as_ref().map_or(0, |offer| offer.revision), upto: revision };
        for ty in ResourceType::ALL {
            let before = former.as_ref().map_or(&nothing, |offer| offer.of(ty));
            if !before.is_same(next.of(ty)) {
                self.exchange(ty).config_changed(before, next.of(ty), span);
            }
        }
        self.offer = Some(next);
        self.settle();
    }

    /// What the proxy said.
    ///
    /// # Errors
    /// The stream must be closed for this reason.
    pub fn request(&mut self, request: &DeltaRequest) -> Result<Heard, CloseReason> {
        if request.initial_versions.len() > NAMES_LEN_MAX {
            return Err(CloseReason::TooManyNames);
        }
        let exchange = self.exchange(request.ty);
        let heard = exchange.hear(request);
        if exchange.names_len() > NAMES_LEN_MAX {
            return Err(CloseReason::TooManyNames);
        }
        self.send_stale_endpoints_again();
        self.settle();
        Ok(heard)
    }

    /// The next response, to be sent now; `None` when there is nothing to say until the proxy
    /// answers, asks, or is offered something else.
    pub fn next_response(&mut self) -> Option<DeltaResponse> {
        let offer = self.offer.clone()?;
        let response = self.next_additions(&offer).or_else(|| self.next_removals(&offer))?;
        self.settle();
        Some(response)
    }

    /// The newest revision of which the proxy accepted or refused everything; `None` before it
    /// asked for clusters and listeners and answered the first of them.
    pub fn answered(&self) -> Option<u64> {
        self.exchanges.iter().map(Exchange::answered).min().filter(|revision| *revision > 0)
    }

    /// What the proxy refused and does not run something else instead of yet, ordered by type and
    /// name.
    pub fn rejections(&self) -> impl Iterator<Item = &Rejection> {
        self.exchanges.iter().flat_map(Exchange::rejections)
    }

    fn exchange(&mut self, ty: ResourceType) -> &mut Exchange {
        &mut self.exchanges[ty as usize]
    }

    fn next_additions(&mut self, offer: &Offer) -> Option<DeltaResponse> {
        for ty in ResourceType::ALL {
            let config = offer.of(ty);
            if !self.exchange(ty).has_additions(config) {
                continue;
            }
            let waits_for_clusters = matches!(ty, ResourceType::Listener | ResourceType::Route)
                && self.exchange(ResourceType::Cluster).has_upserts_in_flight();
            if waits_for_clusters || self.exchange(ty).is_in_flight() {
                return None;
            }
            let nonce = self.next_nonce();
            let upserts = self.exchange(ty).send_additions(config, nonce, offer.revision);
            if ty == ResourceType::Cluster {
                self.stale_endpoints.extend(upserts.iter().map(|cluster| Arc::clone(&cluster.resource.name)));
                self.send_stale_endpoints_again();
            }
            return Some(DeltaResponse { ty, nonce, revision: offer.revision, upserts, removals: Vec::new() });
        }
        None
    }

    /// Removals leave when every addition was answered. What a refused resource's last good version
    /// may refer to stays.
    fn next_removals(&mut self, offer: &Offer) -> Option<DeltaResponse> {
        for ty in ResourceType::ALL {
            let config = offer.of(ty);
            if self.exchange(ty).has_additions(config) || self.exchange(ty).has_upserts_in_flight() {
                return None;
            }
        }
        let keeps_last_good = self.keeps_last_good(offer);
        for ty in REMOVAL_ORDER {
            if keeps_last_good && is_referred_to(ty) {
                return None;
            }
            let config = offer.of(ty);
            if self.exchange(ty).is_in_flight() || self.exchange(ty).difference(config).removals.is_empty() {
                continue;
            }
            let nonce = self.next_nonce();
            let removals = self.exchange(ty).send_removals(config, nonce, offer.revision);
            return Some(DeltaResponse { ty, nonce, revision: offer.revision, upserts: Vec::new(), removals });
        }
        None
    }

    /// A cluster that was sent waits for endpoints, though they may be those that the proxy has: it
    /// may have got them, in this stream or a former one, beside a cluster that it refused.
    fn send_stale_endpoints_again(&mut self) {
        let endpoints = self.exchange(ResourceType::Endpoint);
        if endpoints.is_opened() {
            for cluster in std::mem::take(&mut self.stale_endpoints) {
                self.exchange(ResourceType::Endpoint).forget(&cluster);
            }
        }
    }

    fn next_nonce(&mut self) -> Nonce {
        self.last_nonce += 1;
        Nonce(self.last_nonce)
    }

    fn settle(&mut self) {
        let Some(offer) = self.offer.clone() else { return };
        let keeps_last_good = self.keeps_last_good(&offer);
        for ty in ResourceType::ALL {
            let config = offer.of(ty);
            self.exchange(ty).settle(config, offer.revision, keeps_last_good && is_referred_to(ty));
        }
    }

    fn keeps_last_good(&self, offer: &Offer) -> bool {
        ResourceType::ALL.into_iter().any(|ty| self.exchanges[ty as usize].runs_last_good(offer.of(ty)))
    }
}

/// Whether resources of other types refer to those of this one.
fn is_referred_to(ty: ResourceType) -> bool {
    !matches!(ty, ResourceType::Listener | ResourceType::Route)
}
