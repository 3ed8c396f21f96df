//! Zone: a zone control plane that a global control plane knows.

use serde::{Deserialize, Serialize};

use super::registered::{SpecType, proto};
use crate::codec::Codec;

/// Spec of a Zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Zone {
    /// Whether its resources are passed on to other zones; absent means yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

impl Zone {
    /// Whether its resources are passed on to other zones.
    pub fn is_enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }
}

impl SpecType for Zone {}

pub(crate) const CODEC: Codec = proto::<Zone>();
