//! MeshExternalService: a destination outside the mesh.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::data_source::SecureDataSource;
use super::destination::{Address, HostnameGeneratorStatus, Vip};
use super::protocol::Protocol;
use super::registered::with_status;
use super::text_enum::text_enum;
use super::tls_version::TlsVersionRange;
use crate::codec::Codec;

/// Spec of a MeshExternalService.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeshExternalService {
    /// How proxies of the mesh see it.
    #[serde(rename = "match")]
    pub matched: ExternalMatch,
    /// An extension that provides its endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<TypedExtension>,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<ExternalEndpoint>>,
    /// TLS towards it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ExternalTls>,
}

impl MeshExternalService {
    /// Where it runs; empty when an extension provides that.
    pub fn endpoints(&self) -> &[ExternalEndpoint] {
        self.endpoints.as_deref().unwrap_or(&[])
    }

    /// The section in identifiers: its only port.
    pub fn section_name(&self) -> String {
        self.matched.port.to_string()
    }
}

text_enum! {
    /// How an external service is recognised.
    pub enum ExternalMatchType {
        /// By hostnames that generators make.
        HostnameGenerator = "HostnameGenerator",
    }
}

/// How proxies of the mesh see an external service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExternalMatch {
    /// How it is recognised.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ExternalMatchType>,
    /// Its port in the mesh.
    pub port: i32,
    /// Its protocol.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
}

impl ExternalMatch {
    /// Its port in the mesh; 0 when it is out of range.
    pub fn number(&self) -> u32 {
        u32::try_from(self.port).unwrap_or(0)
    }

    /// Its protocol.
    pub fn parsed_protocol(&self) -> Protocol {
        Protocol::parse(&self.protocol)
    }
}

/// An extension by type, with free configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TypedExtension {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
}

/// Where an external service runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExternalEndpoint {
    /// An IP address or a name.
    pub address: String,
    /// A port.
    pub port: i32,
    /// Envoy's priority; lower is preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// TLS towards an external service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalTls {
    /// Whether it is used.
    pub enabled: bool,
    /// Versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<TlsVersionRange>,
    /// Whether the server may renegotiate.
    pub allow_renegotiation: bool,
    /// How the server is verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
}

text_enum! {
    /// What of a server's certificate is verified.
    pub enum VerificationMode {
        /// Its authority alone.
        SkipSan = "SkipSAN",
        /// Its names alone.
        SkipCa = "SkipCA",
        /// Both.
        Secured = "Secured",
        /// Nothing.
        SkipAll = "SkipAll",
    }
}

/// How a server is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Verification {
    /// What is verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<VerificationMode>,
    /// The server name to send and to expect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The names to expect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_alt_names: Option<Vec<SanMatch>>,
    /// The authority to trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<SecureDataSource>,
    /// The certificate to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<SecureDataSource>,
    /// Its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<SecureDataSource>,
}

text_enum! {
    /// How a subject alternative name is compared.
    pub enum SanMatchType {
        /// Equal.
        Exact = "Exact",
        /// Starts with.
        Prefix = "Prefix",
    }
}

/// A subject alternative name to expect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SanMatch {
    /// How it is compared.
    #[serde(rename = "type", default = "exact")]
    pub kind: SanMatchType,
    /// The name or its beginning.
    pub value: String,
}

fn exact() -> SanMatchType {
    SanMatchType::Exact
}

/// Status of a MeshExternalService.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshExternalServiceStatus {
    /// Its virtual address.
    pub vip: Vip,
    /// Its hostnames.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// What generators made of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hostname_generators: Vec<HostnameGeneratorStatus>,
}

pub(crate) const CODEC: Codec = with_status::<MeshExternalService, MeshExternalServiceStatus>();
