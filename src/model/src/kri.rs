//! Identifiers of resources (KRI): `kri_<short>_<mesh>_<zone>_<namespace>_<name>_<section>`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::descriptor::Kind;
use crate::key::Key;
use crate::labels;
use crate::meta::Labels;
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

/// Text that is no identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKri {
    /// It has not the seven slots.
    #[error("invalid identifier string: {0:?}")]
    Slots(String),
    /// It does not start with `kri`.
    #[error("identifier must start with 'kri': {0:?}")]
    Prefix(String),
    /// No kind has this short name.
    #[error("unknown short name of resource type: {0:?}")]
    ShortName(String),
}

impl Kri {
    /// The identifier of a stored resource, without section.
    pub fn of(resource: &Resource) -> Self {
        Self::new(&resource.key, &resource.meta.labels)
    }

    /// The identifier of the resource with this key and these labels, without section.
    pub fn new(key: &Key, labels: &Labels) -> Self {
        let label = |name: &str| labels.get(name).map_or("", String::as_str).into();
        Self {
            kind: key.kind,
            mesh: Arc::clone(&key.mesh),
            zone: label(labels::ZONE),
            namespace: label(labels::NAMESPACE),
            name: match labels.get(labels::DISPLAY_NAME) {
                Some(name) if !name.is_empty() => name.as_str().into(),
                _ => Arc::clone(&key.name),
            },
            section: "".into(),
        }
    }

    /// The identifier under which the API serves a resource; `None` for kinds without a short
    /// name: insights, secrets and internal settings.
    pub fn served(resource: &Resource) -> Option<Self> {
        (!resource.key.kind.short.is_empty()).then(|| Self::of(resource))
    }

    /// The identifier of a mesh.
    pub fn mesh(name: &str) -> Self {
        Self::new(&Key::global(registry::MESH, name), &Labels::new())
    }

    /// The same resource with this section.
    #[must_use]
    pub fn with_section(&self, section: &str) -> Self {
        Self { section: section.into(), ..self.clone() }
    }

    /// Parses an identifier; the section may contain `_`. `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// The key under which the resource is stored where it was created (except on Kubernetes).
    pub fn local_key(&self) -> Key {
        Key::new(self.kind, &self.mesh, &self.name)
    }
}

impl fmt::Display for Kri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, mesh, zone, namespace, name, section } = self;
        write!(f, "kri_{}_{mesh}_{zone}_{namespace}_{name}_{section}", kind.short)
    }
}

impl FromStr for Kri {
    type Err = BadKri;

    fn from_str(text: &str) -> Result<Self, BadKri> {
        let slots: Vec<&str> = text.splitn(7, '_').collect();
        let [prefix, short, mesh, zone, namespace, name, section] = slots[..] else {
            return Err(BadKri::Slots(text.to_owned()));
        };
        if prefix != "kri" {
            return Err(BadKri::Prefix(text.to_owned()));
        }
        let kind = registry::by_short(short).ok_or_else(|| BadKri::ShortName(short.to_owned()))?;
        Ok(Self {
            kind,
            mesh: mesh.into(),
            zone: zone.into(),
            namespace: namespace.into(),
            name: name.into(),
            section: section.into(),
        })
    }
}

/// The name that its owner gave a resource, whatever it is stored under.
pub fn display_name(resource: &Resource) -> &str {
    match resource.label(labels::DISPLAY_NAME) {
        Some(name) if !name.is_empty() => name,
        _ => &resource.key.name,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identifiers_survive_a_round_trip() {
        for text in ["kri_m____default_", "kri_msvc_default_zone-1_demo_backend_http", "kri_mhttpr_m___r_rule_0"] {
            assert_eq!(Kri::parse(text).map(|kri| kri.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn identifiers_take_zone_namespace_and_display_name_from_labels() {
        let key = Key::new(registry::MESH_SERVICE, "default", "backend-hash");
        let labels = Labels::from([
            (labels::ZONE.to_owned(), "zone-1".to_owned()),
            (labels::NAMESPACE.to_owned(), "demo".to_owned()),
            (labels::DISPLAY_NAME.to_owned(), "backend".to_owned()),
        ]);
        let kri = Kri::new(&key, &labels).with_section("http");
        assert_eq!(kri.to_string(), "kri_msvc_default_zone-1_demo_backend_http");
        assert_eq!(Kri::mesh("default").to_string(), "kri_m____default_");
    }

    #[test]
    fn other_texts_are_refused_in_kumas_words() {
        for (text, expected) in [
            ("", r#"invalid identifier string: """#),
            (
                "kri_msvc_default_zone-1_demo_backend",
                r#"invalid identifier string: "kri_msvc_default_zone-1_demo_backend""#,
            ),
            ("xri_m____default_", r#"identifier must start with 'kri': "xri_m____default_""#),
            ("kri_odd____a_", r#"unknown short name of resource type: "odd""#),
            ("kri___default_default__a_", r#"unknown short name of resource type: """#),
        ] {
            assert_eq!(text.parse::<Kri>().expect_err(text).to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn every_identifier_survives_its_text(
            slots in proptest::array::uniform4("[a-z0-9.-]{0,9}"), section in "[a-zA-Z0-9_-]{0,20}",
        ) {
            let [mesh, zone, namespace, name] = slots.map(Arc::from);
            let kri = Kri { kind: registry::MESH_SERVICE, mesh, zone, namespace, name, section: section.into() };
            prop_assert_eq!(kri.to_string().parse::<Kri>(), Ok(kri));
        }
    }
}
