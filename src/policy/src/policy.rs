//! One policy, read and ranked once.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

use model::kinds::target_ref::RefKind;
use model::{Key, Resource, registry};

use crate::frame::{FrameError, PolicyFrame};
use crate::target_ref::rank;
use model::kri::{Kri, display_name};

/// Which control plane a resource was written on, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The global one.
    Global,
    /// Not known.
    Unset,
    /// One of a zone.
    Zone,
}

impl Origin {
    /// The origin that a resource's label states.
    pub fn of(resource: &Resource) -> Self {
        match resource.label("kuma.io/origin") {
            Some("global") => Self::Global,
            Some("zone") => Self::Zone,
            _ => Self::Unset,
        }
    }
}

/// On whose behalf a policy acts, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Operators of the mesh; also when no role is stated.
    System,
    /// Owners of a service, for all its clients.
    Producer,
    /// Owners of a client, for its own calls.
    Consumer,
    /// Owners of a workload, for its own proxy.
    WorkloadOwner,
}

impl Role {
    /// The role that a resource's label states. An unknown role binds least: it is a system policy.
    pub fn of(resource: &Resource) -> Self {
        match resource.label("kuma.io/policy-role") {
            Some("producer") => Self::Producer,
            Some("consumer") => Self::Consumer,
            Some("workload-owner") => Self::WorkloadOwner,
            _ => Self::System,
        }
    }
}

/// A policy with what matching needs of it.
#[derive(Debug)]
pub struct Policy {
    /// The stored policy.
    pub resource: Arc<Resource>,
    /// Its spec.
    pub frame: PolicyFrame,
    /// Its identifier.
    pub kri: Kri,
    /// Where it was written.
    pub origin: Origin,
    /// On whose behalf it acts.
    pub role: Role,
    /// Only evaluated, never in force (label `kuma.io/effect: shadow`).
    pub shadow: bool,
}

/// A policy that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which policy.
    pub key: Key,
    /// Why.
    pub message: String,
}

impl Policy {
    /// Reads a stored policy.
    ///
    /// # Errors
    /// When its spec has not the shape of a policy.
    pub fn read(resource: &Arc<Resource>) -> Result<Self, FrameError> {
        let frame = PolicyFrame::decode(resource.key.kind, resource.spec.json())?;
        Ok(Self::with_frame(resource, frame))
    }

    /// A stored policy that protects and cannot be read: it goes on selecting whom it selected, with a
    /// conf that cannot be read, so that whoever applies it can fail closed. `None` for other kinds.
    pub(crate) fn unreadable(resource: &Arc<Resource>) -> Option<Self> {
        let protects = resource.key.kind == registry::MESH_TRAFFIC_PERMISSION;
        protects.then(|| Self::with_frame(resource, PolicyFrame::unreadable(resource.spec.json())))
    }

    fn with_frame(resource: &Arc<Resource>, frame: PolicyFrame) -> Self {
        Self {
            frame,
            kri: Kri::of(resource),
            origin: Origin::of(resource),
            role: Role::of(resource),
            shadow: resource.label("kuma.io/effect") == Some("shadow"),
            resource: Arc::clone(resource),
        }
    }

    /// The name that decides between policies that are equal otherwise.
    pub fn display_name(&self) -> &str {
        display_name(&self.resource)
    }

    fn has_section(&self) -> bool {
        self.frame.target_ref.kind == RefKind::Dataplane && self.frame.target_ref.section().is_some()
    }

    /// What comes before the `to` kind in the order.
    fn head(&self) -> (u8, bool, Origin, Role) {
        (rank(&self.frame.target_ref.kind), self.has_section(), self.origin, self.role)
    }

    /// What comes after it: the smaller name wins, so it is the greater; the identifier and the
    /// stored name make the order total.
    fn tail(&self) -> (Reverse<&str>, &Kri, &Key) {
        (Reverse(self.display_name()), &self.kri, &self.resource.key)
    }

    /// Order of precedence, low first.
    pub fn precedence(&self, other: &Self) -> Ordering {
        self.head().cmp(&other.head()).then_with(|| self.tail().cmp(&other.tail()))
    }

    /// Order of precedence between items of `to`, low first: the policy's own rank counts before what
    /// the item names.
    pub fn to_precedence(&self, item: usize, other: &Self, other_item: usize) -> Ordering {
        let (Some(a), Some(b)) = (self.frame.to.get(item), other.frame.to.get(other_item)) else {
            return item.cmp(&other_item);
        };
        let (a, b) = (&a.target_ref, &b.target_ref);
        let section = match (&a.kind, &b.kind) {
            (RefKind::MeshService, RefKind::MeshService) => a.section().is_some().cmp(&b.section().is_some()),
            _ => Ordering::Equal,
        };
        self.head()
            .cmp(&other.head())
            .then_with(|| rank(&a.kind).cmp(&rank(&b.kind)))
            .then(section)
            .then_with(|| self.tail().cmp(&other.tail()))
            .then(item.cmp(&other_item))
    }
}
