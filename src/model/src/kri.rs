//! Identifiers of resources (KRI): `kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>`.

use std::fmt;
use std::sync::Arc;

use crate::descriptor::Kind;
use crate::registry;
use crate::resource::Resource;

/// Name of a resource that is the same in every zone, and of a section of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kri {
    /// Its kind.
    pub kind: Kind,
    /// Its mesh; empty for global kinds.
    pub mesh: Arc<str>,
    /// The zone that it comes from; empty when it comes from the global control plane.
    pub zone: Arc<str>,
    /// Its namespace on Kubernetes; empty elsewhere.
    pub namespace: Arc<str>,
    /// Its display name.
    pub name: Arc<str>,
    /// Name or number of a port or an inbound; empty for the resource as a whole.
    pub section: Arc<str>,
}

impl Kri {
    /// The identifier of a stored resource, without section.
    pub fn of(resource: &Resource) -> Self {
        Self {
            kind: resource.key.kind,
            mesh: Arc::clone(&resource.key.mesh),
            zone: resource.label("kuma.io/zone").unwrap_or_default().into(),
            namespace: resource.label("k8s.kuma.io/namespace").unwrap_or_default().into(),
            name: display_name(resource).into(),
            section: "".into(),
        }
    }

    /// The identifier of a mesh.
    pub fn mesh(name: &str) -> Self {
        let empty: Arc<str> = "".into();
        Self {
            kind: registry::MESH,
            mesh: Arc::clone(&empty),
            zone: Arc::clone(&empty),
            namespace: Arc::clone(&empty),
            name: name.into(),
            section: empty,
        }
    }

    /// The same resource with this section.
    #[must_use]
    pub fn with_section(&self, section: &str) -> Self {
        Self { section: section.into(), ..self.clone() }
    }

    /// Parses an identifier; the section may contain `_`. `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(7, '_');
        if parts.next()? != "kri" {
            return None;
        }
        let kind = registry::by_short(parts.next()?)?;
        let mut part = || parts.next().map(Arc::from);
        Some(Self { kind, mesh: part()?, zone: part()?, namespace: part()?, name: part()?, section: part()? })
    }
}

impl fmt::Display for Kri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, mesh, zone, namespace, name, section } = self;
        write!(f, "kri_{}_{mesh}_{zone}_{namespace}_{name}_{section}", kind.short)
    }
}

/// The name that its owner gave a resource, whatever it is stored under.
pub fn display_name(resource: &Resource) -> &str {
    match resource.label("kuma.io/display-name") {
        Some(name) if !name.is_empty() => name,
        _ => &resource.key.name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_survive_a_round_trip() {
        for text in ["kri_m____default_", "kri_msvc_default_zone-1_demo_backend_http", "kri_mhttpr_m___r_rule_0"] {
            assert_eq!(Kri::parse(text).map(|kri| kri.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in ["", "kri_msvc_default_zone-1_demo_backend", "kri_nothing_m___r_", "xri_m____default_"] {
            assert_eq!(Kri::parse(text), None);
        }
    }
}
