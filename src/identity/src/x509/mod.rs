//! Certificates: authorities, workload certificates, certificates of servers.

mod authority;
mod bundle;
mod server;
mod workload;

pub use authority::{Authority, Subject, generate_authority};
pub use bundle::{append_to_bundle, first_certificate};
pub use server::{KeyAlgorithm, Purpose, SelfSignedServer, generate_for_hosts, generate_self_signed, issue_for_hosts};
pub use workload::{LeafKey, WorkloadCertificate, issue_workload, validity};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
};
use model::Timestamp;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize, SerialNumber, SignatureAlgorithm,
};
use time::OffsetDateTime;

use crate::der;

/// A certificate (or chain) and its private key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificatePair {
    /// One or more certificates, the own one first.
    pub certificate_pem: String,
    /// The private key.
    pub key_pem: String,
}

impl std::fmt::Debug for CertificatePair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificatePair").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

impl CertificatePair {
    /// Both in one text, the certificate first: the form of `envoy-admin-ca` and `inter-cp-ca`.
    pub fn to_bundle(&self) -> String {
        format!("{}{}", self.certificate_pem, self.key_pem)
    }

    /// Takes such a text apart.
    pub fn from_bundle(bundle: &str) -> Option<Self> {
        let key_at = ["-----BEGIN RSA PRIVATE KEY", "-----BEGIN PRIVATE KEY", "-----BEGIN EC PRIVATE KEY"]
            .into_iter()
            .filter_map(|begin| bundle.find(begin))
            .min()?;
        let (certificate, key) = bundle.split_at(key_at);
        Some(Self { certificate_pem: certificate.to_owned(), key_pem: key.to_owned() })
    }
}

/// A certificate or key that cannot be made or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum X509Error {
    /// Certificate and key do not belong together, or one of them cannot be read.
    #[error("not a valid TLS key pair: {0}")]
    KeyPair(String),
    /// The CA has a key of a kind that no workload key follows.
    #[error("unsupported CA key type")]
    UnsupportedKey,
    /// A name cannot stand in a certificate.
    #[error("name {0:?} cannot stand in a certificate")]
    Name(String),
    /// The generator or the signer failed.
    #[error("could not make a certificate: {0}")]
    Crypto(String),
}

impl From<rcgen::Error> for X509Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto(error.to_string())
    }
}

/// How far before its issuing a certificate is valid, for clocks that run behind.
const BACKDATED_S: i64 = 10;

/// How long authorities are valid: ten years.
const AUTHORITY_VALIDITY_S: i64 = 10 * 365 * 24 * 3600;

fn date(at: Timestamp) -> Result<OffsetDateTime, X509Error> {
    OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|e| X509Error::Crypto(e.to_string()))
}

/// `at` plus some seconds, at the edge of time when there is no such time.
fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// A random serial number of 128 bits, never zero.
fn serial() -> Result<SerialNumber, X509Error> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| X509Error::Crypto("no randomness".to_owned()))?;
    bytes[0] = bytes[0] & 0x7f | 0x01;
    Ok(SerialNumber::from_slice(&bytes))
}

/// A new RSA key of 2048 bits: tens of milliseconds.
fn rsa_key() -> Result<KeyPair, X509Error> {
    Ok(KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?)
}

/// A new key for a workload under an authority with `key`.
fn leaf_key(key: &KeyPair, rule: LeafKey) -> Result<KeyPair, X509Error> {
    let algorithm = key.algorithm();
    let same_kind = |kinds: &[&'static SignatureAlgorithm]| kinds.contains(&algorithm);
    if same_kind(&[&PKCS_RSA_SHA256, &rcgen::PKCS_RSA_SHA384, &rcgen::PKCS_RSA_SHA512]) {
        match rule {
            LeafKey::Quick => Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?),
            LeafKey::LikeAuthority => rsa_key(),
        }
    } else if same_kind(&[&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P521_SHA512, &PKCS_ED25519]) {
        Ok(KeyPair::generate_for(algorithm)?)
    } else {
        Err(X509Error::UnsupportedKey)
    }
}

/// The PEM form that Go writes: PKCS#1 for RSA, SEC 1 for elliptic curves, PKCS#8 for Ed25519.
fn key_pem(key: &KeyPair) -> Result<String, X509Error> {
    let unencodable = || X509Error::Crypto("key encoding".to_owned());
    let pkcs8 = key.serialized_der();
    let curve = [
        (&PKCS_ECDSA_P256_SHA256, &ECDSA_P256_SHA256_ASN1_SIGNING),
        (&PKCS_ECDSA_P384_SHA384, &ECDSA_P384_SHA384_ASN1_SIGNING),
        (&PKCS_ECDSA_P521_SHA512, &ECDSA_P521_SHA512_ASN1_SIGNING),
    ]
    .into_iter()
    .find(|(algorithm, _)| *algorithm == key.algorithm());
    let (tag, contents) = if let Some((_, curve)) = curve {
        let pair = EcdsaKeyPair::from_pkcs8(curve, pkcs8).map_err(|_| unencodable())?;
        ("EC PRIVATE KEY", pair.private_key().as_der().map_err(|_| unencodable())?.as_ref().to_vec())
    } else if key.algorithm() == &PKCS_ED25519 {
        ("PRIVATE KEY", pkcs8.to_vec())
    } else {
        ("RSA PRIVATE KEY", der::pkcs1_of_pkcs8(pkcs8).ok_or_else(unencodable)?.to_vec())
    };
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    Ok(pem::encode_config(&pem::Pem::new(tag, contents), config))
}

#[cfg(test)]
mod tests;
