//! MeshExternalService: a destination outside the mesh.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::data_source::{self, DataSourceType, SecureDataSource};
use super::destination::{Address, HostnameGeneratorStatus, Vip};
use super::protocol::Protocol;
use super::registered::{SpecType, with_status};
use super::rules::{self, MUST_NOT_BE_EMPTY, one_of};
use super::text_enum::text_enum;
use super::tls_version::{TlsVersionRange, range_schema};
use crate::codec::{Codec, Document};
use crate::names::is_dns_name;
use crate::registry;
use crate::schema::{self, Schema};
use crate::sni;
use crate::violation::Violations;
use std::sync::LazyLock;

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

impl SpecType for MeshExternalService {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let port = || schema::int32().at_least(1).at_most(65535);
            let matched = schema::object([
                ("type", schema::choice(ExternalMatchType::TEXTS).default_to("HostnameGenerator")),
                ("port", port()),
                ("protocol", schema::choice(PROTOCOLS).default_to("tcp")),
            ]);
            let endpoint = schema::object([
                ("address", schema::string().min_len(1)),
                ("port", port()),
                ("priority", schema::int32().at_least(0).at_most(128)),
            ]);
            schema::object([
                ("match", matched.required(&["port"])),
                ("extension", extension_schema()),
                ("endpoints", schema::array(endpoint.required(&["address", "port"]))),
                ("tls", tls_schema()),
            ])
            .required(&["match"])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        if let Some(ExternalMatchType::Unknown(kind)) = &self.matched.kind {
            faults
                .add("spec.match.type", format!("unrecognized type '{kind}' - only 'HostnameGenerator' is supported"));
        }
        rules::port(faults, "spec.match.port", self.matched.port.into());
        if !PROTOCOLS.contains(&self.matched.protocol.as_str()) {
            faults.add("spec.match.protocol", one_of("protocol", PROTOCOLS));
        }
        if let Some(extension) = &self.extension {
            if extension.kind.is_empty() {
                faults.add("spec.extension.type", MUST_NOT_BE_EMPTY);
            }
        } else {
            for (i, endpoint) in self.endpoints().iter().enumerate() {
                rules::host(faults, &format!("spec.endpoints[{i}].address"), &endpoint.address);
                rules::port(faults, &format!("spec.endpoints[{i}].port"), endpoint.port.into());
            }
        }
        if let Some(tls) = &self.tls {
            faults.nest("spec.tls", tls.faults(self.extension.is_some()));
        }
    }

    fn warnings(&self, document: &Document<'_>) -> Vec<String> {
        sni::warnings(registry::MESH_EXTERNAL_SERVICE, document)
    }
}

const PROTOCOLS: &[&str] = &["tcp", "grpc", "http", "http2"];

/// Schema of a [`TypedExtension`].
pub(crate) fn extension_schema() -> Schema {
    schema::object([("type", schema::string()), ("config", schema::any())]).required(&["type"])
}

fn tls_schema() -> Schema {
    let san = schema::object([
        ("type", schema::choice(SanMatchType::TEXTS).default_to("Exact")),
        ("value", schema::string()),
    ]);
    let verification = schema::object([
        ("mode", schema::choice(VerificationMode::TEXTS).default_to("Secured")),
        ("serverName", schema::string()),
        ("subjectAltNames", schema::array(san.required(&["value"]))),
        ("caCert", data_source::schema()),
        ("clientCert", data_source::schema()),
        ("clientKey", data_source::schema()),
    ]);
    schema::object([
        ("enabled", schema::boolean().default_to(false)),
        ("version", range_schema()),
        ("allowRenegotiation", schema::boolean().default_to(false)),
        ("verification", verification),
    ])
}

impl ExternalTls {
    /// The faults; with an extension only those of data sources.
    fn faults(&self, extended: bool) -> Violations {
        let mut faults = Violations::new();
        if let Some(version) = self.version.as_ref().filter(|_| !extended) {
            faults.nest("version", version.faults());
        }
        if let Some(verification) = &self.verification {
            if !extended {
                faults.nest("verification", verification.faults());
            }
            faults.nest("verification", verification.source_faults());
        }
        faults
    }
}

impl Verification {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if self.server_name.as_ref().is_some_and(|name| !is_dns_name(name)) {
            faults.add("serverName", "must be a valid DNS name");
        }
        if matches!(&self.mode, Some(VerificationMode::Unknown(mode)) if !mode.is_empty()) {
            faults.add("mode", one_of("mode", &["SkipSAN", "SkipCA", "SkipAll", "Secured"]));
        }
        for (i, san) in self.subject_alt_names.iter().flatten().enumerate() {
            if !san.kind.is_known() {
                faults.add(format!("subjectAltNames[{i}].type"), one_of("type", &["Prefix", "Exact"]));
            }
        }
        match (&self.client_cert, &self.client_key) {
            (Some(_), None) => faults.add("clientKey", "must be defined when clientCert is defined"),
            (None, Some(_)) => faults.add("clientCert", "must be defined when clientKey is defined"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        faults
    }

    fn source_faults(&self) -> Violations {
        let mut faults = Violations::new();
        for (path, source) in
            [("caCert", &self.ca_cert), ("clientCert", &self.client_cert), ("clientKey", &self.client_key)]
        {
            let Some(source) = source else { continue };
            if matches!(source.kind, DataSourceType::File | DataSourceType::EnvVar) {
                faults.add(
                    format!("{path}.type"),
                    format!("{} must be one of: Secret, InsecureInline", source.kind.as_str()),
                );
            } else {
                faults.nest(path, source.faults());
            }
        }
        faults
    }
}

pub(crate) const CODEC: Codec = with_status::<MeshExternalService, MeshExternalServiceStatus>();
