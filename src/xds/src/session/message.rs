//! The messages of the conversation, free of protobuf.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::proxy_config::{ContentHash, Entry, ResourceType};

/// Number of a response within its stream; on the wire its decimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nonce(pub u64);

impl Nonce {
    /// The nonce with this text; `None` when no session made it.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the proxy says about one type (`DeltaDiscoveryRequest`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaRequest {
    /// The type that is spoken of.
    pub ty: ResourceType,
    /// Names that the proxy wants from now on; `*` is all of them.
    pub subscribe: Vec<Arc<str>>,
    /// Names that it no longer wants.
    pub unsubscribe: Vec<Arc<str>>,
    /// What it has from a former stream; `None` is a version that this control plane never made.
    /// Heard in the first request of a type only.
    pub initial_versions: BTreeMap<Arc<str>, Option<ContentHash>>,
    /// The response that it answers; `None` when it answers none.
    pub nonce: Option<Nonce>,
    /// Why it refuses that response.
    pub error: Option<String>,
}

impl DeltaRequest {
    /// A request that says nothing but its type: the first one for all resources.
    pub fn of(ty: ResourceType) -> Self {
        Self {
            ty,
            subscribe: Vec::new(),
            unsubscribe: Vec::new(),
            initial_versions: BTreeMap::new(),
            nonce: None,
            error: None,
        }
    }
}

/// What the proxy is told about one type (`DeltaDiscoveryResponse`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaResponse {
    /// The type that is spoken of.
    pub ty: ResourceType,
    /// Its number, which the proxy repeats in its answer.
    pub nonce: Nonce,
    /// The revision of the configuration that it was taken from.
    pub revision: u64,
    /// New and changed resources, ordered by name.
    pub upserts: Vec<Entry>,
    /// Names of resources that are gone, ordered.
    pub removals: Vec<Arc<str>>,
}

/// What a request meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It changed, or opened, a subscription and answered nothing.
    Subscription,
    /// It accepted the outstanding response.
    Ack,
    /// It refused the outstanding response.
    Nack,
    /// It answered a response that is not outstanding.
    Stale,
}

/// Revisions after one and up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The last revision before it.
    pub after: u64,
    /// Its last revision.
    pub upto: u64,
}

impl Span {
    /// Whether the revision is one of them.
    pub fn contains(self, revision: u64) -> bool {
        self.after < revision && revision <= self.upto
    }
}

/// A version of a resource that the proxy refused and that it is not sent again. It stands until the
/// proxy runs what it should run instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Type of the resource.
    pub ty: ResourceType,
    /// Its name.
    pub name: Arc<str>,
    /// The refused version.
    pub version: ContentHash,
    /// The proxy's words, cut to [`MESSAGE_LEN_MAX`] bytes.
    pub message: Arc<str>,
    /// The revisions that brought it, oldest first: what was new to the proxy of this type whenever it
    /// refused a version of the resource, since it last ran what it should.
    pub spans: Arc<[Span]>,
}

impl Rejection {
    /// Whether the revision may have brought what was refused.
    pub fn covers(&self, revision: u64) -> bool {
        self.spans.iter().any(|span| span.contains(revision))
    }
}

/// How many spans are kept apart; the oldest are merged.
const SPANS_LEN_MAX: usize = 8;

/// The spans of one more refusal.
pub(super) fn and_then(former: &[Span], latest: Span) -> Arc<[Span]> {
    let mut spans: Vec<Span> = former.iter().copied().filter(|span| *span != latest).collect();
    if spans.len() == SPANS_LEN_MAX {
        let oldest = spans.remove(0);
        spans[0].after = oldest.after;
    }
    spans.push(latest);
    spans.into()
}

/// How much of a proxy's refusal is kept: Envoy appends the refused resource as text.
pub const MESSAGE_LEN_MAX: usize = 1024;

/// Why the stream must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The proxy asks for more names of a type than any mesh has.
    #[error("too many resource names are subscribed")]
    TooManyNames,
}

/// The start of `message`, at most [`MESSAGE_LEN_MAX`] bytes.
pub(super) fn shorten(message: &str) -> Arc<str> {
    let mut end = message.len().min(MESSAGE_LEN_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].into()
}
