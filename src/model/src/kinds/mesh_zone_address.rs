//! MeshZoneAddress: the public address of a mesh's zone ingress.

use serde::{Deserialize, Serialize};

use super::registered::plain;
use crate::codec::Codec;

/// Spec of a MeshZoneAddress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeshZoneAddress {
    /// An IP address or a name.
    pub address: String,
    /// A port.
    pub port: i32,
}

pub(crate) const CODEC: Codec = plain::<MeshZoneAddress>();
