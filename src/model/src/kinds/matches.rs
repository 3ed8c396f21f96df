//! Matches of inbound rules: who calls, and for which server name.

use serde::{Deserialize, Serialize};

use super::text_enum::text_enum;

text_enum! {
    /// How a SPIFFE ID is compared.
    pub enum SpiffeMatchType {
        /// Equal.
        Exact = "Exact",
        /// Starts with.
        Prefix = "Prefix",
    }
}

text_enum! {
    /// How a server name is compared.
    pub enum SniMatchType {
        /// Equal.
        Exact = "Exact",
    }
}

/// The caller's SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpiffeIdMatch {
    /// How it is compared.
    #[serde(rename = "type")]
    pub kind: SpiffeMatchType,
    /// The identifier or its beginning.
    pub value: String,
}

/// The server name of the TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SniMatch {
    /// How it is compared.
    #[serde(rename = "type")]
    pub kind: SniMatchType,
    /// The name.
    pub value: String,
}

/// One match: all of its fields must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Match {
    /// The caller's SPIFFE ID.
    #[serde(rename = "spiffeID", skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<SpiffeIdMatch>,
    /// The server name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sni: Option<SniMatch>,
}

impl Match {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.spiffe_id.is_none() && self.sni.is_none()
    }
}
