//! TLS from a zone egress to a service outside of the mesh.

use std::net::IpAddr;

use super::tls::{exact_san, inline_bytes, prefix_san};
use crate::envoy::core::{DataSource, data_source::Specifier};
use crate::envoy::tls::common_tls_context::ValidationContextType;
use crate::envoy::tls::subject_alt_name_matcher::SanType;
use crate::envoy::tls::tls_parameters::TlsProtocol;
use crate::envoy::tls::{
    CertificateValidationContext, CommonTlsContext, SubjectAltNameMatcher, TlsCertificate, TlsParameters,
    UpstreamTlsContext,
};

/// What of the server is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Its CA and its name.
    #[default]
    Secured,
    /// Its CA.
    SkipSan,
    /// Nothing, but the own certificate is shown.
    SkipCa,
    /// Nothing at all.
    SkipAll,
}

/// A name that the server may bear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerName {
    /// Exactly this.
    Exact(String),
    /// Anything that begins so.
    Prefix(String),
}

/// TLS as a MeshExternalService asks for it, with its secrets read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExternalTls {
    /// What is verified.
    pub verify: Verify,
    /// The server name to ask for.
    pub server_name: Option<String>,
    /// Further names that the server may bear.
    pub subject_alt_names: Vec<ServerName>,
    /// CA of the server, PEM; the system's CAs when it is not given.
    pub ca: Option<Vec<u8>>,
    /// Own certificate chain and key, PEM.
    pub client_certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// Lowest protocol version.
    pub min_version: Option<TlsProtocol>,
    /// Highest protocol version.
    pub max_version: Option<TlsProtocol>,
    /// Whether the server may renegotiate.
    pub allow_renegotiation: bool,
}

/// TLS that cannot be verified as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalTlsError {
    /// There is no CA to verify with.
    #[error("no CA is configured and the zone proxy knows no system CA")]
    NoCa,
}

impl ExternalTls {
    /// The context towards the endpoint `address`.
    ///
    /// # Errors
    /// When the server is to be verified and there is no CA: an unverified connection is no answer.
    pub(super) fn context(&self, address: &str, system_ca_path: &str) -> Result<UpstreamTlsContext, ExternalTlsError> {
        let dns_name = address.parse::<IpAddr>().is_err().then_some(address);
        let server_name = match self.verify {
            Verify::Secured | Verify::SkipCa => self.server_name.as_deref().or(dns_name),
            Verify::SkipSan | Verify::SkipAll => dns_name,
        };
        let mut common = CommonTlsContext::default();
        if self.verify != Verify::SkipAll {
            common.tls_certificates = self.client_certificate.iter().map(certificate).collect();
        }
        if matches!(self.verify, Verify::Secured | Verify::SkipSan) {
            let sans = match self.verify {
                Verify::Secured => self.sans(server_name.unwrap_or(address)),
                Verify::SkipSan | Verify::SkipCa | Verify::SkipAll => Vec::new(),
            };
            common.validation_context_type =
                Some(ValidationContextType::ValidationContext(CertificateValidationContext {
                    trusted_ca: Some(self.trusted_ca(system_ca_path)?),
                    match_typed_subject_alt_names: sans,
                    ..Default::default()
                }));
            common.tls_params = self.params();
        }
        Ok(UpstreamTlsContext {
            sni: server_name.unwrap_or_default().to_owned(),
            allow_renegotiation: self.allow_renegotiation && self.verify != Verify::SkipAll,
            common_tls_context: (common != CommonTlsContext::default()).then_some(common),
            ..Default::default()
        })
    }

    fn trusted_ca(&self, system_ca_path: &str) -> Result<DataSource, ExternalTlsError> {
        match (&self.ca, system_ca_path) {
            (Some(ca), _) => Ok(inline_bytes(ca)),
            (None, "") => Err(ExternalTlsError::NoCa),
            (None, path) => {
                Ok(DataSource { specifier: Some(Specifier::Filename(path.to_owned())), ..Default::default() })
            }
        }
    }

    /// Each name may stand in the certificate as a DNS name or as an IP address.
    fn sans(&self, host: &str) -> Vec<SubjectAltNameMatcher> {
        let both = [SanType::Dns, SanType::IpAddress];
        let own = both.map(|kind| exact_san(kind, host));
        let others = both.into_iter().flat_map(|kind| {
            self.subject_alt_names.iter().map(move |name| match name {
                ServerName::Exact(text) => exact_san(kind, text),
                ServerName::Prefix(text) => prefix_san(kind, text),
            })
        });
        own.into_iter().chain(others).collect()
    }

    fn params(&self) -> Option<TlsParameters> {
        (self.min_version.is_some() || self.max_version.is_some()).then(|| TlsParameters {
            tls_minimum_protocol_version: self.min_version.unwrap_or(TlsProtocol::TlsAuto).into(),
            tls_maximum_protocol_version: self.max_version.unwrap_or(TlsProtocol::TlsAuto).into(),
            ..Default::default()
        })
    }
}

fn certificate((chain, key): &(Vec<u8>, Vec<u8>)) -> TlsCertificate {
    TlsCertificate {
        certificate_chain: Some(inline_bytes(chain)),
        private_key: Some(inline_bytes(key)),
        ..Default::default()
    }
}
