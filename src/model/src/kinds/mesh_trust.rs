//! MeshTrust: the certificate authorities of a trust domain.

use serde::{Deserialize, Serialize};

use super::registered::with_status;
use super::text_enum::text_enum;
use crate::codec::Codec;

/// Spec of a MeshTrust.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTrust {
    /// Its authorities.
    pub ca_bundles: Vec<CaBundle>,
    /// The trust domain.
    pub trust_domain: String,
}

text_enum! {
    /// Forms of an authority.
    pub enum CaBundleType {
        /// PEM text.
        Pem = "Pem",
    }
}

/// An authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaBundle {
    /// Its form.
    #[serde(rename = "type")]
    pub kind: CaBundleType,
    /// For `Pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<Pem>,
}

impl CaBundle {
    /// An authority as PEM text.
    pub fn pem(value: impl Into<String>) -> Self {
        Self { kind: CaBundleType::Pem, pem: Some(Pem { value: value.into() }) }
    }
}

/// PEM text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pem {
    /// The text.
    pub value: String,
}

/// Status of a MeshTrust.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeshTrustStatus {
    /// The MeshIdentity that it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<TrustOrigin>,
}

/// Where a MeshTrust comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrustOrigin {
    /// Identifier of the MeshIdentity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kri: Option<String>,
}

pub(crate) const CODEC: Codec = with_status::<MeshTrust, MeshTrustStatus>();
