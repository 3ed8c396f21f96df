//! Config: internal settings of the control plane, as its cluster id.

use serde::{Deserialize, Serialize};

use super::registered::{SpecType, proto};
use crate::codec::Codec;

/// Spec of a Config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The content, as its reader defines it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub config: String,
}

impl SpecType for Config {}

pub(crate) const CODEC: Codec = proto::<Config>();
