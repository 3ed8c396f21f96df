//! What proxies share: resources that were encoded once, for whoever has the same ones, in this view
//! of the mesh and in the next.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use xxhash_rust::xxh3::Xxh3;

use super::inbound_part::InboundClass;
use super::outbound_part::{OutboundPart, Unit};
use super::parts::OwnPart;
use crate::proxy_config::{ContentHash, EncodedResource, Entry, Layer, ResourceType};

/// A digest of everything that something was made from.
pub(super) type InputsHash = u128;

/// The digest of a value's parts.
pub(super) fn digest(value: impl Hash) -> InputsHash {
    let mut hasher = Xxh3::new();
    value.hash(&mut hasher);
    hasher.digest128()
}

/// How much work was done since the picture of the mesh was first made. Differences tell what a
/// change has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Dataplanes of which policies were matched.
    pub matched: u64,
    /// Times that the surroundings of a proxy were generated.
    pub generated_proxies: u64,
    /// Times that the inbounds of a proxy were generated.
    pub generated_inbounds: u64,
    /// Times that a document of names was generated.
    pub generated_names: u64,
    /// Times that the resources of an outbound were generated.
    pub generated_outbounds: u64,
    /// Clusters that were encoded.
    pub encoded_clusters: u64,
    /// Endpoint sets that were encoded.
    pub encoded_endpoints: u64,
    /// Listeners that were encoded.
    pub encoded_listeners: u64,
    /// Secrets that were encoded.
    pub encoded_secrets: u64,
}

/// A counter of [`Counters`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    Matched,
    Proxy,
    Inbounds,
    Names,
    Outbound,
    Encoded(ResourceType),
}

/// What tells encoded resources apart.
type ResourceKey = (ResourceType, Arc<str>, ContentHash);

/// What the views of one mesh share, from the first to the last.
#[derive(Default)]
struct Cache {
    counters: [AtomicU64; 9],
    epoch: AtomicU64,
    resources: Mutex<Weaks<ResourceKey, EncodedResource>>,
    layers: Mutex<Weaks<InputsHash, [Entry]>>,
    units: Mutex<Strongs<Unit>>,
    endpoints: Mutex<Strongs<EncodedResource>>,
}

/// What the proxies of one view share, by the digest of what it is made from. The first that asks makes
/// it, and who asks meanwhile waits for that alone.
struct Cells<V>(Mutex<BTreeMap<InputsHash, Arc<OnceLock<Arc<V>>>>>);

impl<V> Default for Cells<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V> Cells<V> {
    fn get_or_make(&self, key: InputsHash, make: impl FnOnce() -> V) -> Arc<V> {
        let cell = Arc::clone(lock(&self.0).entry(key).or_default());
        Arc::clone(cell.get_or_init(|| Arc::new(make())))
    }

    fn made(&self, key: InputsHash) -> Option<Arc<V>> {
        let cell = lock(&self.0).get(&key).cloned()?;
        cell.get().cloned()
    }
}

/// Shared by the proxies of one view, and by the views of one mesh.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    cache: Arc<Cache>,
    classes: Arc<Cells<OutboundPart>>,
    inbounds: Arc<Cells<InboundClass>>,
    names: Arc<Cells<OwnPart>>,
    /// Changes whenever a destination or a policy does.
    epoch: u64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("epoch", &self.epoch).field("counters", &self.counters()).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// What the next view of the mesh shares with this one, when outbounds may differ.
    pub(crate) fn next(&self, has_new_epoch: bool) -> Self {
        let epoch = if has_new_epoch { self.cache.epoch.fetch_add(1, Ordering::Relaxed) + 1 } else { self.epoch };
        Self {
            cache: Arc::clone(&self.cache),
            classes: Arc::default(),
            inbounds: Arc::default(),
            names: Arc::default(),
            epoch,
        }
    }

    /// Changes whenever a destination or a policy does.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn count(&self, count: Count) {
        let index = match count {
            Count::Matched => 0,
            Count::Proxy => 1,
            Count::Outbound => 2,
            Count::Encoded(ResourceType::Cluster) => 3,
            Count::Encoded(ResourceType::Endpoint) => 4,
            Count::Encoded(ResourceType::Listener) => 5,
            Count::Encoded(ResourceType::Secret | ResourceType::Route) => 6,
            Count::Inbounds => 7,
            Count::Names => 8,
        };
        self.cache.counters[index].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counters(&self) -> Counters {
        let [matched, proxies, outbounds, clusters, endpoints, listeners, secrets, inbounds, names] =
            [0, 1, 2, 3, 4, 5, 6, 7, 8].map(|index: usize| self.cache.counters[index].load(Ordering::Relaxed));
        Counters {
            matched,
            generated_proxies: proxies,
            generated_inbounds: inbounds,
            generated_names: names,
            generated_outbounds: outbounds,
            encoded_clusters: clusters,
            encoded_endpoints: endpoints,
            encoded_listeners: listeners,
            encoded_secrets: secrets,
        }
    }

    /// The outbound part of all proxies with these inputs, made by the first that asks.
    pub(super) fn class(&self, key: InputsHash, make: impl FnOnce() -> OutboundPart) -> Arc<OutboundPart> {
        self.classes.get_or_make(key, make)
    }

    /// The outbound part of all proxies with these inputs, if one of them made it.
    pub(super) fn made_class(&self, key: InputsHash) -> Option<Arc<OutboundPart>> {
        self.classes.made(key)
    }

    /// The document of names of all proxies with these inputs, made by the first that asks.
    pub(super) fn names(&self, key: InputsHash, make: impl FnOnce() -> OwnPart) -> Arc<OwnPart> {
        self.names.get_or_make(key, make)
    }

    /// What the inbounds of all proxies with these inputs have in common, made by the first that asks.
    pub(super) fn inbounds(&self, key: InputsHash, make: impl FnOnce() -> InboundClass) -> Arc<InboundClass> {
        self.inbounds.get_or_make(key, make)
    }

    /// The one copy of a resource.
    pub(super) fn intern(&self, resource: EncodedResource) -> Arc<EncodedResource> {
        let key = (resource.ty, Arc::clone(&resource.name), resource.hash);
        lock(&self.cache.resources).get_or_insert(key, || Arc::new(resource))
    }

    /// The one copy of a list of resources.
    pub(super) fn intern_layer(&self, entries: Vec<Entry>) -> Layer {
        let layer: Layer = entries.into_iter().collect();
        let mut hasher = Xxh3::new();
        for entry in layer.entries() {
            (&entry.resource.name, entry.version, entry.resource.hash).hash(&mut hasher);
        }
        Layer(lock(&self.cache.layers).get_or_insert(hasher.digest128(), || layer.0))
    }

    /// The resources of an outbound that was made from these inputs.
    pub(super) fn unit(&self, key: InputsHash, make: impl FnOnce() -> Unit) -> Arc<Unit> {
        if let Some(unit) = lock(&self.cache.units).get(key) {
            return unit;
        }
        let unit = Arc::new(make());
        lock(&self.cache.units).insert(key, &unit);
        unit
    }

    /// The endpoint set that was made from these inputs.
    pub(super) fn endpoints(
        &self,
        key: InputsHash,
        make: impl FnOnce() -> Arc<EncodedResource>,
    ) -> Arc<EncodedResource> {
        if let Some(endpoints) = lock(&self.cache.endpoints).get(key) {
            return endpoints;
        }
        let endpoints = make();
        lock(&self.cache.endpoints).insert(key, &endpoints);
        endpoints
    }
}

/// How many unused entries a cache may hold beside as many as were in use when it was last swept.
const SLACK_LEN: usize = 256;

/// Values that live as long as somebody else has them.
struct Weaks<K, V: ?Sized> {
    entries: BTreeMap<K, Weak<V>>,
    sweep_at: usize,
}

impl<K, V: ?Sized> Default for Weaks<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), sweep_at: SLACK_LEN }
    }
}

impl<K: Ord, V: ?Sized> Weaks<K, V> {
    fn get_or_insert(&mut self, key: K, make: impl FnOnce() -> Arc<V>) -> Arc<V> {
        if let Some(known) = self.entries.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        let value = make();
        self.entries.insert(key, Arc::downgrade(&value));
        if self.entries.len() > self.sweep_at {
            self.entries.retain(|_, value| value.strong_count() > 0);
            self.sweep_at = 2 * self.entries.len() + SLACK_LEN;
        }
        value
    }
}

/// Values that are kept for a while when nobody else has them any more: the next view may want them.
struct Strongs<V> {
    entries: BTreeMap<InputsHash, Arc<V>>,
    sweep_at: usize,
}

impl<V> Default for Strongs<V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), sweep_at: SLACK_LEN }
    }
}

impl<V> Strongs<V> {
    fn get(&self, key: InputsHash) -> Option<Arc<V>> {
        self.entries.get(&key).cloned()
    }

    fn insert(&mut self, key: InputsHash, value: &Arc<V>) {
        self.entries.insert(key, Arc::clone(value));
        if self.entries.len() > self.sweep_at {
            self.entries.retain(|_, value| Arc::strong_count(value) > 1);
            self.sweep_at = 2 * self.entries.len() + SLACK_LEN;
        }
    }
}
