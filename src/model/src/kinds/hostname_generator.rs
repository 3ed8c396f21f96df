//! HostnameGenerator: hostnames of destinations from a template.

use serde::{Deserialize, Serialize};

use super::mesh_external_service::TypedExtension;
use super::registered::plain;
use super::selector::LabelSelector;
use crate::codec::Codec;

/// Spec of a HostnameGenerator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostnameGenerator {
    /// The destinations that get a hostname.
    pub selector: GeneratorSelector,
    /// The hostname, a Go template.
    pub template: String,
    /// An extension that makes hostnames known elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<TypedExtension>,
}

/// The destinations of a generator: exactly one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GeneratorSelector {
    /// MeshServices by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh_service: Option<LabelSelector>,
    /// MeshExternalServices by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh_external_service: Option<LabelSelector>,
    /// MeshMultiZoneServices by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh_multi_zone_service: Option<LabelSelector>,
}

pub(crate) const CODEC: Codec = plain::<HostnameGenerator>();
