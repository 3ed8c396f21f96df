//! References from a policy to what it selects: dataplanes at its top, destinations in `to`,
//! backends in routes.

use std::fmt;

use model::{Kind, Labels, registry};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer};

/// What a reference names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// The whole mesh.
    Mesh,
    /// Dataplanes by their labels.
    Dataplane,
    /// Services by their labels.
    MeshService,
    /// External services by their labels.
    MeshExternalService,
    /// Multi-zone services by their labels.
    MeshMultiZoneService,
    /// HTTP routes by their labels.
    MeshHttpRoute,
    /// A kind that this version does not know or no longer supports; it selects nothing.
    Unknown(String),
}

impl TargetKind {
    /// Position in the order of precedence, low first (the numbers are Kuma's).
    pub fn rank(&self) -> u8 {
        match self {
            Self::Unknown(_) => 0,
            Self::Mesh => 1,
            Self::Dataplane => 2,
            Self::MeshService => 5,
            Self::MeshExternalService => 6,
            Self::MeshMultiZoneService => 7,
            Self::MeshHttpRoute => 9,
        }
    }

    /// The name, as in `kind:`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Mesh => "Mesh",
            Self::Dataplane => "Dataplane",
            Self::MeshService => "MeshService",
            Self::MeshExternalService => "MeshExternalService",
            Self::MeshMultiZoneService => "MeshMultiZoneService",
            Self::MeshHttpRoute => "MeshHTTPRoute",
            Self::Unknown(name) => name,
        }
    }

    /// The registered kind of the destinations that it names; `None` when it names no destination.
    pub fn destination(&self) -> Option<Kind> {
        match self {
            Self::MeshService => Some(registry::MESH_SERVICE),
            Self::MeshExternalService => Some(registry::MESH_EXTERNAL_SERVICE),
            Self::MeshMultiZoneService => Some(registry::MESH_MULTI_ZONE_SERVICE),
            Self::Mesh | Self::Dataplane | Self::MeshHttpRoute | Self::Unknown(_) => None,
        }
    }
}

impl From<&str> for TargetKind {
    fn from(name: &str) -> Self {
        match name {
            "Mesh" => Self::Mesh,
            "Dataplane" => Self::Dataplane,
            "MeshService" => Self::MeshService,
            "MeshExternalService" => Self::MeshExternalService,
            "MeshMultiZoneService" => Self::MeshMultiZoneService,
            "MeshHTTPRoute" => Self::MeshHttpRoute,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for TargetKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TargetKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(deserializer)?.as_str()))
    }
}

/// Kuma's `targetRef`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// What is selected.
    pub kind: TargetKind,
    /// Labels that the selected have; `None` and the empty map select all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// Name of an inbound or of a port, or its number when it has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

impl TargetRef {
    /// The reference that a policy without one has.
    pub fn mesh() -> Self {
        Self { kind: TargetKind::Mesh, labels: None, section_name: None }
    }

    /// The section name; empty when there is none.
    pub fn section(&self) -> &str {
        self.section_name.as_deref().unwrap_or_default()
    }

    /// The value of a label that is asked for; empty when it is not.
    pub fn label(&self, key: &str) -> &str {
        self.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str).unwrap_or_default()
    }
}

/// Whether `labels` has every pair of `wanted`.
pub fn includes(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Kuma's `backendRef`: a destination, a port of it, and a weight among its siblings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendRef {
    /// The destination.
    #[serde(flatten)]
    pub target: TargetRef,
    /// Share of the traffic; 1 when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Port of the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
}

impl BackendRef {
    /// The section that it names: the section name, else the port number; empty when neither is set.
    pub fn section(&self) -> String {
        match (&self.target.section_name, self.port) {
            (Some(name), _) if !name.is_empty() => name.clone(),
            (_, Some(port)) if port > 0 => port.to_string(),
            _ => String::new(),
        }
    }

    /// The weight, with its default.
    pub fn weight_or_default(&self) -> u32 {
        self.weight.unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_kinds_are_kept_and_rank_lowest() {
        let target: TargetRef = serde_json::from_str(r#"{"kind":"MeshSubset","tags":{"a":"b"}}"#).expect("decodes");
        assert_eq!(target.kind, TargetKind::Unknown("MeshSubset".to_owned()));
        assert_eq!(target.kind.rank(), 0);
    }

    #[test]
    fn a_backend_names_its_section_by_name_before_port() {
        let both: BackendRef =
            serde_json::from_str(r#"{"kind":"MeshService","labels":{"a":"b"},"sectionName":"http","port":80}"#)
                .expect("decodes");
        assert_eq!(both.section(), "http");
        assert_eq!(both.weight_or_default(), 1);
        let port: BackendRef = serde_json::from_str(r#"{"kind":"MeshService","port":80,"weight":0}"#).expect("decodes");
        assert_eq!((port.section().as_str(), port.weight_or_default()), ("80", 0));
    }
}
