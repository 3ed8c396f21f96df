//! Certificates of the control plane's own servers and clients.

use model::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

use super::authority::Authority;
use super::{AUTHORITY_VALIDITY_S, BACKDATED_S, CertificatePair, X509Error, date, key_pem, later, rsa_key, serial};

/// How far before its making a self-signed server certificate is valid: five minutes.
const SELF_SIGNED_BACKDATED_S: i64 = 300;

/// What a self-signed server certificate is made for.
#[derive(Clone, Copy, Debug)]
pub struct SelfSignedServer<'a> {
    /// Common name.
    pub common_name: &'a str,
    /// Host names and IP addresses.
    pub hosts: &'a [String],
    /// Kind of its key.
    pub algorithm: KeyAlgorithm,
}

/// A certificate that is its own authority, valid for ten years: what a control plane without
/// configured certificates serves with.
///
/// # Errors
/// When a host cannot stand in a certificate, or the generator fails.
pub fn generate_self_signed(server: SelfSignedServer<'_>, now: Timestamp) -> Result<CertificatePair, X509Error> {
    self_signed(Some(server.common_name), server.hosts, Purpose::Server, &server.algorithm.generate()?, now)
}

/// The algorithm of a generated key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// RSA of 2048 bits: tens of milliseconds to generate.
    Rsa,
    /// The curve P-256.
    P256,
}

impl KeyAlgorithm {
    fn generate(self) -> Result<KeyPair, X509Error> {
        match self {
            Self::Rsa => rsa_key(),
            Self::P256 => Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?),
        }
    }
}

/// A certificate without a common name that is its own authority, valid for ten years: what an
/// operator generates for a server or a client.
///
/// # Errors
/// When a host cannot stand in a certificate, or the generator fails.
pub fn generate_for_hosts(
    hosts: &[String],
    purpose: Purpose,
    algorithm: KeyAlgorithm,
    now: Timestamp,
) -> Result<CertificatePair, X509Error> {
    self_signed(None, hosts, purpose, &algorithm.generate()?, now)
}

fn self_signed(
    common_name: Option<&str>,
    hosts: &[String],
    purpose: Purpose,
    key: &KeyPair,
    now: Timestamp,
) -> Result<CertificatePair, X509Error> {
    let mut params = for_hosts(hosts)?;
    if let Some(name) = common_name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.not_before = date(later(now, -SELF_SIGNED_BACKDATED_S))?;
    params.not_after = date(later(now, AUTHORITY_VALIDITY_S))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = match purpose {
        Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Purpose::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    let certificate = params.self_signed(key)?;
    Ok(CertificatePair { certificate_pem: certificate.pem(), key_pem: key_pem(key)? })
}

/// What an issued certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Serving (Envoy's admin).
    Server,
    /// Calling (the control plane at Envoy's admin).
    Client,
    /// Both (instances of one control plane among themselves).
    Both,
}

/// A certificate for these hosts, signed by an authority of the control plane, valid for ten years.
/// Its key is an elliptic one, because one is made for each proxy.
///
/// # Errors
/// When a host cannot stand in a certificate, or the signer fails.
pub fn issue_for_hosts(
    authority: &Authority,
    hosts: &[String],
    purpose: Purpose,
    now: Timestamp,
) -> Result<CertificatePair, X509Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = for_hosts(hosts)?;
    if let Some(first) = hosts.first() {
        params.distinguished_name.push(DnType::CommonName, first.as_str());
    }
    params.not_before = date(later(now, -BACKDATED_S))?;
    params.not_after = date(later(now, AUTHORITY_VALIDITY_S))?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = match purpose {
        Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Purpose::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &authority.issuer()?)?;
    Ok(CertificatePair { certificate_pem: certificate.pem(), key_pem: key_pem(&key)? })
}

fn for_hosts(hosts: &[String]) -> Result<CertificateParams, X509Error> {
    let mut params = CertificateParams::new(hosts.to_vec()).map_err(|_| X509Error::Name(hosts.join(", ")))?;
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(serial()?);
    Ok(params)
}
