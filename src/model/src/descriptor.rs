//! What a kind is: the data that every part of the system needs to know of it.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use crate::codec::Codec;

/// Whether a kind lives in a mesh or beside all meshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One namespace of names for the whole control plane.
    Global,
    /// One namespace of names a mesh.
    Mesh,
}

/// How a kind looks in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Protobuf-born: spec fields stand beside `type`, `mesh` and `name`.
    Proto,
    /// Plugin-born: fields stand under `spec`, and `status` where there is one.
    Spec,
}

/// Who provides and who consumes a kind in Kuma's zone synchronisation (bit values are Kuma's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdsFlags(pub u16);

impl KdsFlags {
    /// Zones take it from the global control plane.
    pub const CONSUMED_BY_ZONE: Self = Self(1);
    /// The global control plane takes it from zones.
    pub const CONSUMED_BY_GLOBAL: Self = Self(4);
    /// A zone may write it.
    pub const PROVIDED_BY_ZONE: Self = Self(8);
    /// The global control plane may write it.
    pub const PROVIDED_BY_GLOBAL: Self = Self(16);
    /// The global control plane passes it from one zone to the others.
    pub const SYNCED_ACROSS_ZONES: Self = Self(32);
    /// Zone to global.
    pub const ZONE_TO_GLOBAL: Self = Self(12);
    /// Global to zone.
    pub const GLOBAL_TO_ZONE: Self = Self(17);

    /// Whether all bits of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The union of both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The registry's entry of one kind. All of them stand in [`crate::registry::KINDS`].
#[derive(Debug)]
pub struct Descriptor {
    /// Type name, as in `type:` of a document.
    pub name: &'static str,
    /// Scope of its names.
    pub scope: Scope,
    /// JSON form.
    pub form: Form,
    /// Zone synchronisation.
    pub kds: KdsFlags,
    /// Whether synchronised copies keep their name instead of a hashed one.
    pub skip_kds_hash: bool,
    /// REST path segment; empty when the kind is not on REST (`Config`).
    pub path: &'static str,
    /// Second REST path, empty when none.
    pub alt_path: &'static str,
    /// Short name in identifiers (KRI); empty when the kind has none.
    pub short: &'static str,
    /// `kumactl get|delete` argument; empty when kumactl does not know it.
    pub kumactl_arg: &'static str,
    /// `kumactl get` argument of the list; empty when kumactl does not know it.
    pub kumactl_list_arg: &'static str,
    /// Singular display name.
    pub singular: &'static str,
    /// Plural display name.
    pub plural: &'static str,
    /// Never writable over REST.
    pub read_only: bool,
    /// Readable by administrators only.
    pub admin_only: bool,
    /// A policy (selected by `targetRef`).
    pub is_policy: bool,
    /// A policy with `to`.
    pub has_to: bool,
    /// A policy with `rules`.
    pub has_rules: bool,
    /// A destination of traffic (MeshService and its kin).
    pub is_destination: bool,
    /// Has a `status`.
    pub has_status: bool,
    /// May be created in the system namespace of Kubernetes only.
    pub system_namespace_only: bool,
    /// Whether a change of it can change which policies select a dataplane.
    pub affects_policy_matching: bool,
    /// Order in which a policy edits the Envoy configuration, low first; 0 for other kinds.
    pub order: u16,
    /// Its companion insight kind, empty when none.
    pub insight: &'static str,
    /// Its overview shape, empty when none.
    pub overview: &'static str,
    /// How its specs are decoded, defaulted and validated.
    pub codec: Codec,
}

impl Descriptor {
    /// Whether the kind is born of a plugin, that is, has the `spec` form.
    pub fn is_plugin_originated(&self) -> bool {
        self.form == Form::Spec
    }
}

/// A registered kind: a reference to its [`Descriptor`], equal and ordered by type name.
#[derive(Clone, Copy)]
pub struct Kind(pub &'static Descriptor);

impl Deref for Kind {
    type Target = Descriptor;
    fn deref(&self) -> &Descriptor {
        self.0
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0) || self.0.name == other.0.name
    }
}

impl Eq for Kind {}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name.cmp(other.0.name)
    }
}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}
