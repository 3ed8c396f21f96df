//! TLS contexts between workloads: who a proxy is, whom it accepts, and where its secrets come from.

use std::collections::BTreeSet;

use crate::envoy::core::config_source::ConfigSourceSpecifier;
use crate::envoy::core::grpc_service::{EnvoyGrpc, TargetSpecifier};
use crate::envoy::core::{
    ApiConfigSource, ApiVersion, ConfigSource, DataSource, GrpcService, TransportSocket, api_config_source::ApiType,
    data_source::Specifier, transport_socket,
};
use crate::envoy::matcher::{StringMatcher, string_matcher::MatchPattern};
use crate::envoy::tls::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};
use crate::envoy::tls::subject_alt_name_matcher::SanType;
use crate::envoy::tls::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, SubjectAltNameMatcher,
    TlsParameters, UpstreamTlsContext,
};
use crate::envoy::{BoolValue, ads_source, pack};
use crate::names::{SPIRE_AGENT, TRUST_BUNDLE};

/// Name of the secret with which a SPIRE agent serves the CAs of all its trust domains.
const SPIRE_ALL_BUNDLES: &str = "ALL";
/// The protocol that sidecars negotiate among each other.
const MESH_ALPN: &str = "kuma";

/// Who hands a proxy its certificate and its trust bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretSource {
    /// This control plane, over the stream of all other resources.
    ControlPlane,
    /// The SPIRE agent beside the proxy.
    SpireAgent,
}

/// The identity of a proxy, as TLS contexts name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlsIdentity {
    /// Name of the secret with the certificate.
    pub certificate: String,
    /// Where the secrets are.
    pub source: SecretSource,
}

impl TlsIdentity {
    /// A certificate that the control plane issues, under the identifier of its MeshIdentity.
    pub fn issued(mesh_identity: &str) -> Self {
        Self { certificate: mesh_identity.to_owned(), source: SecretSource::ControlPlane }
    }

    /// A certificate that the local SPIRE agent hands out, under the workload's SPIFFE ID.
    pub fn of_spire(spiffe_id: &str) -> Self {
        Self { certificate: spiffe_id.to_owned(), source: SecretSource::SpireAgent }
    }

    fn secret(&self, name: &str) -> SdsSecretConfig {
        let source = match self.source {
            SecretSource::ControlPlane => ads_source(),
            SecretSource::SpireAgent => spire_source(),
        };
        SdsSecretConfig { name: name.to_owned(), sds_config: Some(source) }
    }

    fn common(&self, sans: Vec<SubjectAltNameMatcher>, alpn: Vec<String>) -> CommonTlsContext {
        let bundle = match self.source {
            SecretSource::ControlPlane => TRUST_BUNDLE,
            SecretSource::SpireAgent => SPIRE_ALL_BUNDLES,
        };
        CommonTlsContext {
            alpn_protocols: alpn,
            tls_certificate_sds_secret_configs: vec![self.secret(&self.certificate)],
            validation_context_type: Some(ValidationContextType::CombinedValidationContext(
                CombinedCertificateValidationContext {
                    default_validation_context: Some(CertificateValidationContext {
                        match_typed_subject_alt_names: sans,
                        ..Default::default()
                    }),
                    validation_context_sds_secret_config: Some(self.secret(bundle)),
                    ..Default::default()
                },
            )),
            ..Default::default()
        }
    }

    /// How an inbound of this proxy accepts clients: of any of these trust domains, in order. With
    /// SPIRE the agent's bundle alone decides.
    pub fn downstream<'a>(
        &self,
        trust_domains: impl IntoIterator<Item = &'a str>,
        params: Option<TlsParameters>,
    ) -> DownstreamTlsContext {
        let sans = match self.source {
            SecretSource::ControlPlane => {
                trust_domains.into_iter().map(|td| prefix_san(SanType::Uri, &format!("spiffe://{td}/"))).collect()
            }
            SecretSource::SpireAgent => Vec::new(),
        };
        DownstreamTlsContext {
            require_client_certificate: Some(BoolValue { value: true }),
            common_tls_context: Some(CommonTlsContext { tls_params: params, ..self.common(sans, Vec::new()) }),
            ..Default::default()
        }
    }

    /// How this proxy calls a destination: by its SNI, accepting exactly these SPIFFE IDs.
    ///
    /// Without any known identity of the destination no server is accepted: an empty list would mean
    /// "any workload of a trusted domain" to Envoy.
    pub fn upstream(&self, sni: &str, spiffe_ids: &BTreeSet<String>) -> UpstreamTlsContext {
        let mut sans: Vec<_> = spiffe_ids.iter().map(|id| exact_san(SanType::Uri, id)).collect();
        if sans.is_empty() {
            sans.push(exact_san(SanType::Uri, ""));
        }
        UpstreamTlsContext {
            sni: sni.to_owned(),
            common_tls_context: Some(self.common(sans, vec![MESH_ALPN.to_owned()])),
            ..Default::default()
        }
    }
}

fn spire_source() -> ConfigSource {
    let agent = EnvoyGrpc { cluster_name: SPIRE_AGENT.to_owned(), ..Default::default() };
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::ApiConfigSource(ApiConfigSource {
            api_type: ApiType::Grpc.into(),
            transport_api_version: ApiVersion::V3.into(),
            grpc_services: vec![GrpcService {
                target_specifier: Some(TargetSpecifier::EnvoyGrpc(agent)),
                ..Default::default()
            }],
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// A TLS context as a transport socket.
pub fn transport_socket<T: prost::Message + prost::Name>(context: &T) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(pack(context))),
    }
}

/// Bytes that stand in the message itself.
pub fn inline_bytes(bytes: &[u8]) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(bytes.to_vec())), ..Default::default() }
}

/// Matches a name exactly.
pub fn exact_san(kind: SanType, text: &str) -> SubjectAltNameMatcher {
    san(kind, MatchPattern::Exact(text.to_owned()))
}

/// Matches what begins so.
pub fn prefix_san(kind: SanType, text: &str) -> SubjectAltNameMatcher {
    san(kind, MatchPattern::Prefix(text.to_owned()))
}

fn san(kind: SanType, pattern: MatchPattern) -> SubjectAltNameMatcher {
    SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(StringMatcher { match_pattern: Some(pattern), ..Default::default() }),
        ..Default::default()
    }
}
