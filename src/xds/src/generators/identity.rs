//! Secrets of a proxy: its certificate, the CAs that it trusts; or the cluster of the SPIRE agent.

use std::collections::BTreeMap;
use std::time::Duration;

use super::blocks::{endpoint_of, http_options};
use super::tls::inline_bytes;
use crate::envoy::cluster::Cluster;
use crate::envoy::core::TypedExtensionConfig;
use crate::envoy::endpoint::{ClusterLoadAssignment, LocalityLbEndpoints};
use crate::envoy::tls::spiffe_cert_validator_config::TrustDomain;
use crate::envoy::tls::{CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate, secret};
use crate::envoy::{duration, pack, pipe};
use crate::names::{SPIRE_AGENT, TRUST_BUNDLE};
use crate::protocol::Protocol;
use crate::resource_set::{ClusterResource, Origin};

/// The secret with a certificate that the control plane issued: PEM chain and key.
pub fn certificate_secret(name: &str, chain: &[u8], key: &[u8]) -> Secret {
    Secret {
        name: name.to_owned(),
        r#type: Some(secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(inline_bytes(chain)),
            private_key: Some(inline_bytes(key)),
            ..Default::default()
        })),
    }
}

/// The secret with the CAs (PEM) of each trust domain; `None` when no domain is trusted.
pub fn trust_bundle_secret(cas: &BTreeMap<String, Vec<String>>) -> Option<Secret> {
    if cas.is_empty() {
        return None;
    }
    let domain = |(name, pems): (&String, &Vec<String>)| TrustDomain {
        name: name.clone(),
        trust_bundle: Some(inline_bytes(pems.join("\n").as_bytes())),
        ..Default::default()
    };
    let validator = SpiffeCertValidatorConfig { trust_domains: cas.iter().map(domain).collect(), ..Default::default() };
    let context = CertificateValidationContext {
        custom_validator_config: Some(TypedExtensionConfig {
            name: "envoy.tls.cert_validator.spiffe".to_owned(),
            typed_config: Some(pack(&validator)),
        }),
        ..Default::default()
    };
    Some(Secret { name: TRUST_BUNDLE.to_owned(), r#type: Some(secret::Type::ValidationContext(context)) })
}

/// The cluster of the SPIRE agent that listens on `socket_path`.
pub fn spire_cluster(socket_path: &str, connect_timeout: Duration) -> ClusterResource {
    let cluster = Cluster {
        name: SPIRE_AGENT.to_owned(),
        connect_timeout: Some(duration(connect_timeout)),
        load_assignment: Some(ClusterLoadAssignment {
            cluster_name: SPIRE_AGENT.to_owned(),
            endpoints: vec![LocalityLbEndpoints {
                lb_endpoints: vec![endpoint_of(pipe(socket_path))],
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    ClusterResource {
        origin: Origin::IdentitySpire,
        destination: None,
        protocol: Protocol::Grpc,
        cluster,
        http_options: http_options(Protocol::Http2),
    }
}
