//! What a MeshExternalService asks a zone egress for.

use model::Kri;
use model::kinds::data_source::{DataSourceType, SecureDataSource};
use model::kinds::mesh_external_service::{
    ExternalTls as TlsSpec, MeshExternalService, SanMatch, SanMatchType, Verification, VerificationMode,
};
use model::kinds::tls_version::TlsVersion;
use model::{Labels, Resource};

use super::external_tls::{ExternalTls, ServerName, Verify};
use super::outbound::{Endpoint, Locality};
use super::zone_egress::ExternalDestination;
use crate::envoy::tls::tls_parameters::TlsProtocol;
use crate::protocol::Protocol;

/// TLS material that cannot be read. The service is then neither offered by an egress nor has it
/// endpoints for anyone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    /// The source is none that an external service may use.
    #[error("datasource type: {0} is not supported on MeshExternalService")]
    Source(String),
    /// There is no such secret in the mesh.
    #[error("secret {0} not found")]
    Secret(String),
    /// The source does not say where the value is.
    #[error("the datasource has no {0}")]
    Empty(&'static str),
}

/// The service as an egress offers it; `secret` reads the Secrets of the mesh.
///
/// # Errors
/// When TLS material cannot be read.
pub fn external_destination(
    resource: &Resource,
    spec: &MeshExternalService,
    secret: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<ExternalDestination, MaterialError> {
    let protocol = match spec.matched.parsed_protocol() {
        Protocol::Unknown => Protocol::Tcp,
        known => known,
    };
    let tls = match spec.tls.as_ref().filter(|tls| tls.enabled) {
        Some(tls) => Some(external_tls(tls, &secret)?),
        None => None,
    };
    Ok(ExternalDestination {
        kri: Kri::of(resource).with_section(&spec.section_name()),
        protocol,
        endpoints: endpoints(spec, &resource.meta.labels),
        tls,
    })
}

fn endpoints(spec: &MeshExternalService, labels: &Labels) -> Vec<Endpoint> {
    let endpoint = |endpoint: &model::kinds::mesh_external_service::ExternalEndpoint| {
        let priority = endpoint.priority.and_then(|priority| u32::try_from(priority).ok()).unwrap_or_default();
        Some(Endpoint {
            address: endpoint.address.clone(),
            port: u16::try_from(endpoint.port).ok()?,
            weight: 1,
            tags: labels.clone(),
            locality: Some(Locality { zone: String::new(), sub_zone: format!("priority-{priority}"), priority }),
        })
    };
    spec.endpoints().iter().filter_map(endpoint).collect()
}

fn external_tls(spec: &TlsSpec, secret: &impl Fn(&str) -> Option<Vec<u8>>) -> Result<ExternalTls, MaterialError> {
    let none = Verification::default();
    let verification = spec.verification.as_ref().unwrap_or(&none);
    let read = |source: &Option<SecureDataSource>| source.as_ref().map(|source| material(source, secret)).transpose();
    let version = |version: Option<&TlsVersion>| version.map(protocol_version);
    let range = spec.version.as_ref();
    Ok(ExternalTls {
        verify: match verification.mode {
            Some(VerificationMode::SkipSan) => Verify::SkipSan,
            Some(VerificationMode::SkipCa) => Verify::SkipCa,
            Some(VerificationMode::SkipAll) => Verify::SkipAll,
            Some(VerificationMode::Secured | VerificationMode::Unknown(_)) | None => Verify::Secured,
        },
        server_name: verification.server_name.clone().filter(|name| !name.is_empty()),
        subject_alt_names: verification.subject_alt_names.iter().flatten().map(server_name).collect(),
        ca: read(&verification.ca_cert)?,
        client_certificate: read(&verification.client_cert)?.zip(read(&verification.client_key)?),
        min_version: version(range.and_then(|range| range.min.as_ref())),
        max_version: version(range.and_then(|range| range.max.as_ref())),
        allow_renegotiation: spec.allow_renegotiation,
    })
}

fn material(source: &SecureDataSource, secret: &impl Fn(&str) -> Option<Vec<u8>>) -> Result<Vec<u8>, MaterialError> {
    match &source.kind {
        DataSourceType::Secret => {
            let name = &source.secret_ref.as_ref().ok_or(MaterialError::Empty("secretRef"))?.name;
            secret(name).ok_or_else(|| MaterialError::Secret(name.clone()))
        }
        DataSourceType::InsecureInline => {
            let inline = source.insecure_inline.as_ref().ok_or(MaterialError::Empty("insecureInline"))?;
            Ok(inline.value.clone().into_bytes())
        }
        other => Err(MaterialError::Source(other.to_string())),
    }
}

/// An unknown way to compare compares exactly: the narrower one.
fn server_name(name: &SanMatch) -> ServerName {
    match name.kind {
        SanMatchType::Prefix => ServerName::Prefix(name.value.clone()),
        SanMatchType::Exact | SanMatchType::Unknown(_) => ServerName::Exact(name.value.clone()),
    }
}

/// The version as Envoy names it.
pub fn protocol_version(version: &TlsVersion) -> TlsProtocol {
    match version {
        TlsVersion::Tls10 => TlsProtocol::TlSv10,
        TlsVersion::Tls11 => TlsProtocol::TlSv11,
        TlsVersion::Tls12 => TlsProtocol::TlSv12,
        TlsVersion::Tls13 => TlsProtocol::TlSv13,
        TlsVersion::Auto | TlsVersion::Unknown(_) => TlsProtocol::TlsAuto,
    }
}
