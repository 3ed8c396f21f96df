//! `<mesh>.<name>`: the id of an Envoy node.

use std::fmt;
use std::sync::Arc;

use model::Key;
use model::registry::{DATAPLANE, DATAPLANE_INSIGHT};

/// Which proxy a stream belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyId {
    /// Its mesh.
    pub mesh: Arc<str>,
    /// Name of its Dataplane.
    pub name: Arc<str>,
}

/// Why a node id is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyIdError {
    /// There is none.
    #[error("Envoy ID must not be nil")]
    Empty,
    /// There is no dot.
    #[error("the name should be provided after the dot")]
    NoName,
    /// The dot is the last character.
    #[error("name must not be empty")]
    EmptyName,
}

impl ProxyId {
    /// Splits at the first dot: mesh names have none, names of Dataplanes may.
    ///
    /// # Errors
    /// When a part is missing.
    pub fn parse(node_id: &str) -> Result<Self, ProxyIdError> {
        if node_id.is_empty() {
            return Err(ProxyIdError::Empty);
        }
        let (mesh, name) = node_id.split_once('.').ok_or(ProxyIdError::NoName)?;
        if name.is_empty() {
            return Err(ProxyIdError::EmptyName);
        }
        Ok(Self { mesh: mesh.into(), name: name.into() })
    }

    /// The proxy of a Dataplane.
    pub fn of(dataplane: &Key) -> Self {
        Self { mesh: Arc::clone(&dataplane.mesh), name: Arc::clone(&dataplane.name) }
    }

    /// Key of its Dataplane.
    pub fn dataplane(&self) -> Key {
        Key { kind: DATAPLANE, mesh: Arc::clone(&self.mesh), name: Arc::clone(&self.name) }
    }

    /// Key of its DataplaneInsight.
    pub fn insight(&self) -> Key {
        Key { kind: DATAPLANE_INSIGHT, mesh: Arc::clone(&self.mesh), name: Arc::clone(&self.name) }
    }
}

impl fmt::Display for ProxyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.mesh, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mesh_ends_at_the_first_dot() {
        let id = ProxyId::parse("default.web-1.apps").unwrap();
        assert_eq!((&*id.mesh, &*id.name), ("default", "web-1.apps"));
        assert_eq!(id.to_string(), "default.web-1.apps");
    }

    #[test]
    fn a_missing_part_is_named() {
        let message = |id: &str| ProxyId::parse(id).unwrap_err().to_string();
        assert_eq!(message(""), "Envoy ID must not be nil");
        assert_eq!(message("default"), "the name should be provided after the dot");
        assert_eq!(message("default."), "name must not be empty");
    }
}
