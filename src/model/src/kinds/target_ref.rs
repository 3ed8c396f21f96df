//! References of policies to what they select: dataplanes, destinations and routes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;

text_enum! {
    /// What a reference points at.
    pub enum RefKind {
        /// Everything in the mesh.
        Mesh = "Mesh",
        /// Dataplanes by label.
        Dataplane = "Dataplane",
        /// MeshServices by label.
        MeshService = "MeshService",
        /// MeshExternalServices by label.
        MeshExternalService = "MeshExternalService",
        /// MeshMultiZoneServices by label.
        MeshMultiZoneService = "MeshMultiZoneService",
        /// MeshHTTPRoutes by label.
        MeshHttpRoute = "MeshHTTPRoute",
    }
}

impl Default for RefKind {
    /// A kind that was not given.
    fn default() -> Self {
        Self::Unknown("".into())
    }
}

/// `targetRef` of a policy or of one of its `to` items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRef {
    /// What it points at.
    pub kind: RefKind,
    /// Labels that the target must have; absent and empty both mean all of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// A section of the target: an inbound or a port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

impl TargetRef {
    /// A reference to the whole mesh: what a missing top-level reference means.
    pub fn mesh() -> Self {
        Self { kind: RefKind::Mesh, ..Self::default() }
    }

    /// The section, unless it is empty.
    pub fn section(&self) -> Option<&str> {
        self.section_name.as_deref().filter(|name| !name.is_empty())
    }

    /// The label with this key, unless it is empty.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.as_ref()?.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

fn one() -> u32 {
    1
}

/// A destination of a route with its share of the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendRef {
    /// The destination.
    #[serde(flatten)]
    pub target: TargetRef,
    /// Its share relative to the weights of its neighbours.
    #[serde(default = "one")]
    pub weight: u32,
    /// A port of the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
}
