//! Mesh: a namespace of dataplanes, services and policies that trust one another.

use serde::{Deserialize, Serialize};

use super::registered::{SpecType, proto};
use crate::codec::Codec;

/// Spec of a Mesh. The removed fields of older versions are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mesh {
    /// Type names of default policies that are not created with the mesh, or `*` for none at all.
    #[serde(alias = "skip_creating_initial_policies", skip_serializing_if = "Vec::is_empty")]
    pub skip_creating_initial_policies: Vec<String>,
}

impl SpecType for Mesh {}

pub(crate) const CODEC: Codec = proto::<Mesh>();
