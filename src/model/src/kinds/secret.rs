//! Secret and GlobalSecret: bytes that only administrators read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

use super::registered::{SpecType, proto};
use crate::codec::Codec;

/// Spec of a Secret or a GlobalSecret.
#[derive(Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Secret {
    /// The value; absent when the secret has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<SecretBytes>,
}

/// The bytes of a secret: standard base64 in JSON, and never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretBytes(pub Vec<u8>);

impl Secret {
    /// A secret with this value.
    pub fn new(data: impl Into<Vec<u8>>) -> Self {
        Self { data: Some(SecretBytes(data.into())) }
    }

    /// The value; empty when there is none.
    pub fn bytes(&self) -> &[u8] {
        self.data.as_ref().map_or(&[], |data| &data.0)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} bytes)", self.bytes().len())
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The message must not repeat what may be half of a secret.
        STANDARD.decode(text).map(Self).map_err(|_| de::Error::custom("data is not valid base64"))
    }
}

impl SpecType for Secret {}

pub(crate) const CODEC: Codec = proto::<Secret>();
