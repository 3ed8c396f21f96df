//! What one proxy should run, encoded: the meeting point of generation and conversation.

mod layers;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use model::Key;

pub use layers::{LAYERS, Layer, TypeConfig};

/// The types that are served, in the order in which additions must reach Envoy (make before break).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// `envoy.config.cluster.v3.Cluster`.
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment`.
    Endpoint,
    /// `envoy.config.listener.v3.Listener`.
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration`: never generated (routes are inline), always answered.
    Route,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret`.
    Secret,
}

impl ResourceType {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Cluster, Self::Endpoint, Self::Listener, Self::Route, Self::Secret];

    /// The type URL on the wire.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }

    /// The type with this URL.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.type_url() == url)
    }
}

/// Version of a resource on xDS: a hash of content, equal in every process.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub u64);

impl ContentHash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxhash_rust::xxh3::xxh3_64(bytes))
    }

    /// A hash of both.
    #[must_use]
    pub fn mix(self, other: Self) -> Self {
        let mut both = [0; 16];
        both[..8].copy_from_slice(&self.0.to_le_bytes());
        both[8..].copy_from_slice(&other.0.to_le_bytes());
        Self::of(&both)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One Envoy resource in its canonical encoding, shared by all proxies that run it.
#[derive(PartialEq, Eq)]
pub struct EncodedResource {
    /// Its type.
    pub ty: ResourceType,
    /// Its name.
    pub name: Arc<str>,
    /// The hash of `body`.
    pub hash: ContentHash,
    /// Canonical protobuf bytes of the message (the `value` of its `Any`).
    pub body: Bytes,
}

/// Never shows the body: it may be a private key.
impl fmt::Debug for EncodedResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {} ({} bytes)", self.ty, self.name, self.hash, self.body.len())
    }
}

/// A resource as one proxy has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The shared bytes.
    pub resource: Arc<EncodedResource>,
    /// What is sent as its version: the content's hash, for endpoints mixed with their cluster's, so
    /// that a changed cluster brings its endpoints along.
    pub version: ContentHash,
}

/// A policy, or other resource, that could not be applied to a proxy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyFault {
    /// Which resource is at fault.
    pub key: Key,
    /// Why, for its owner to read.
    pub message: String,
}

/// What one proxy should run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// By type, in the order of [`ResourceType::ALL`].
    types: [TypeConfig; ResourceType::ALL.len()],
    /// What could not be applied; the rest is in force.
    pub faults: Vec<PolicyFault>,
}

impl ProxyConfig {
    /// A configuration with these resources.
    pub fn new(types: impl IntoIterator<Item = (ResourceType, TypeConfig)>, faults: Vec<PolicyFault>) -> Self {
        let mut config = Self { faults, ..Self::default() };
        for (ty, resources) in types {
            config.types[ty as usize] = resources;
        }
        config
    }

    /// The resources of a type.
    pub fn of(&self, ty: ResourceType) -> &TypeConfig {
        &self.types[ty as usize]
    }

    /// Whether both say the same, and share every list of resources.
    pub(crate) fn shares_all(&self, other: &Self) -> bool {
        self.types.iter().zip(&other.types).all(|(a, b)| a.is_same(b)) && self.faults == other.faults
    }

    /// A resource.
    pub fn get(&self, ty: ResourceType, name: &str) -> Option<&Entry> {
        self.of(ty).get(name)
    }

    /// All resources, ordered by type and name.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.types.iter().flat_map(TypeConfig::iter)
    }
}
