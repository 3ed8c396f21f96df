//! Config: internal settings of the control plane, as its cluster id.

use serde::{Deserialize, Serialize};

use super::registered::proto;
use crate::codec::Codec;

/// Spec of a Config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The content, as its reader defines it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub config: String,
}

pub(crate) const CODEC: Codec = proto::<Config>();
