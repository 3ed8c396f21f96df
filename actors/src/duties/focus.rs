//! What a pass of the duties looks at.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Key, Timestamp};

/// Everything that changes since the last pass can have made wrong, by the duty that looks at it. The
/// [`Index`](super::Index) fills it while it follows changes, those of the pass itself included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Focus {
    /// Meshes whose MeshIdentities, or what they are made from, changed.
    pub identities: BTreeSet<Arc<str>>,
    /// Workloads, each with its mesh, that a Dataplane names or named, or of which there is a service
    /// or a Workload.
    pub workloads: BTreeSet<(Arc<str>, String)>,
    /// MeshMultiZoneServices for which other services may stand.
    pub multi_zone: BTreeSet<Key>,
    /// Destinations with other hostnames, perhaps.
    pub hostnames: BTreeSet<Key>,
    /// MeshServices behind which other dataplanes may stand.
    pub services: BTreeSet<Key>,
    /// Workloads that may count other dataplanes.
    pub counts: BTreeSet<Key>,
    /// A destination may lack its address.
    pub addresses: bool,
    /// Insights of proxies that came: they may die without a word.
    pub came: BTreeSet<Key>,
    /// When the first of the proxies left that may stay away.
    pub left: Option<Timestamp>,
}

impl Focus {
    /// Keeps what is in meshes that `keeps` names.
    pub fn retain(&mut self, keeps: impl Fn(&Arc<str>) -> bool) {
        self.identities.retain(&keeps);
        self.workloads.retain(|(mesh, _)| keeps(mesh));
        for keys in [&mut self.multi_zone, &mut self.hostnames, &mut self.services, &mut self.counts] {
            keys.retain(|key| keeps(&key.mesh));
        }
    }

    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
