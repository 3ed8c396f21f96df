//! Versions of TLS.

use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;

text_enum! {
    /// A version of TLS.
    pub enum TlsVersion {
        /// Whatever Envoy takes.
        Auto = "TLSAuto",
        /// 1.0.
        Tls10 = "TLS10",
        /// 1.1.
        Tls11 = "TLS11",
        /// 1.2.
        Tls12 = "TLS12",
        /// 1.3.
        Tls13 = "TLS13",
    }
}

/// A range of versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsVersionRange {
    /// The lowest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<TlsVersion>,
    /// The highest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<TlsVersion>,
}
