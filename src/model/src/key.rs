//! The identity of a stored resource.

use std::fmt;
use std::sync::Arc;

use crate::descriptor::{Kind, Scope};

/// Identity of a resource: its kind, its mesh and its name.
///
/// `mesh` is empty for kinds of global scope. Keys order by kind name, then mesh, then name, so
/// a range of an ordered map is a list in Kuma's order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kind of the resource.
    pub kind: Kind,
    /// The mesh, empty for global kinds.
    pub mesh: Arc<str>,
    /// The name, unique within kind and mesh.
    pub name: Arc<str>,
}

impl Key {
    /// A key of any scope; for a global kind `mesh` is dropped.
    pub fn new(kind: Kind, mesh: &str, name: &str) -> Self {
        let mesh = match kind.scope {
            Scope::Global => "",
            Scope::Mesh => mesh,
        };
        Self { kind, mesh: mesh.into(), name: name.into() }
    }

    /// The key of a resource of global scope.
    pub fn global(kind: Kind, name: &str) -> Self {
        Self::new(kind, "", name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mesh.is_empty() {
            write!(f, "{}/{}", self.kind, self.name)
        } else {
            write!(f, "{}/{}/{}", self.kind, self.mesh, self.name)
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
