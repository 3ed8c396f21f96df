//! MeshTLS: whether inbounds take plaintext, and which TLS the mesh speaks.

use serde::{Deserialize, Serialize};

use super::registered::plain;
use super::target_ref::TargetRef;
use super::text_enum::text_enum;
use super::tls_version::TlsVersionRange;
use crate::codec::Codec;

/// Spec of a MeshTLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTls {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// What their inbounds take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// What inbounds take.
    pub default: Conf,
}

text_enum! {
    /// Whether inbounds take plaintext.
    pub enum TlsMode {
        /// They do.
        Permissive = "Permissive",
        /// They do not.
        Strict = "Strict",
    }
}

text_enum! {
    /// Ciphers of TLS 1.2.
    pub enum TlsCipher {
        /// ECDHE-ECDSA with AES-128-GCM.
        EcdheEcdsaAes128GcmSha256 = "ECDHE-ECDSA-AES128-GCM-SHA256",
        /// ECDHE-ECDSA with AES-256-GCM.
        EcdheEcdsaAes256GcmSha384 = "ECDHE-ECDSA-AES256-GCM-SHA384",
        /// ECDHE-ECDSA with ChaCha20.
        EcdheEcdsaChacha20Poly1305 = "ECDHE-ECDSA-CHACHA20-POLY1305",
        /// ECDHE-RSA with AES-128-GCM.
        EcdheRsaAes128GcmSha256 = "ECDHE-RSA-AES128-GCM-SHA256",
        /// ECDHE-RSA with AES-256-GCM.
        EcdheRsaAes256GcmSha384 = "ECDHE-RSA-AES256-GCM-SHA384",
        /// ECDHE-RSA with ChaCha20.
        EcdheRsaChacha20Poly1305 = "ECDHE-RSA-CHACHA20-POLY1305",
    }
}

/// What inbounds take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conf {
    /// Versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<TlsVersionRange>,
    /// Ciphers of TLS 1.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ciphers: Option<Vec<TlsCipher>>,
    /// Whether plaintext is taken; absent means no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsMode>,
}

pub(crate) const CODEC: Codec = plain::<MeshTls>();
