//! A certificate authority of a group, and the certificates that it signs for replicas.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use sha2::{Digest, Sha256};

use crate::types::ReplicaId;

/// The name in every replica's certificate; connections are made by address and checked by this.
pub(crate) const SERVER_NAME: &str = "replica.kuma-cp";

/// The name of an authority. One that follows another has its fingerprint behind it: who meets a
/// certificate of an authority that he does not know is told that, and not that a signature is wrong.
const NAME: &str = "kuma-cp replicas";

/// A certificate holds for this many times the interval of its renewal.
const RENEWALS_PER_LIFE: u32 = 3;

/// What stands before the 32 bytes of an Ed25519 key in PKCS#8 (RFC 8410, section 7).
const ED25519_PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Tells authorities apart: the SHA-256 of the certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) struct Fingerprint([u8; 32]);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// What is known of an authority by all: its certificate.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Root {
    pem: String,
    fingerprint: Fingerprint,
}

/// An authority: its certificate and its key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    root: Root,
    key: String,
}

impl Root {
    /// Of a certificate as PEM; `None` when it is none.
    pub(crate) fn parse(pem: &str) -> Option<Self> {
        let der = STANDARD.decode(body(pem)).ok()?;
        x509_parser::parse_x509_certificate(&der).ok()?;
        Some(Self { pem: pem.to_owned(), fingerprint: Fingerprint(Sha256::digest(der).into()) })
    }

    /// The certificate as PEM.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// What tells it from others.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The certificate as unpadded URL-safe base64.
    pub(crate) fn to_token(&self) -> String {
        body(&self.pem).replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
    }

    /// Reads what [`Self::to_token`] wrote.
    pub(crate) fn of_token(text: &str) -> Option<Self> {
        let body = STANDARD.encode(URL_SAFE_NO_PAD.decode(text).ok()?);
        Self::parse(&format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"))
    }
}

impl Authority {
    /// The first authority of a group.
    pub(crate) fn generate() -> Result<Self, rcgen::Error> {
        Self::with(&KeyPair::generate()?, NAME.to_owned())
    }

    /// One that takes the place of another.
    pub(crate) fn following() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let name = format!("{NAME} {}", URL_SAFE_NO_PAD.encode(&Sha256::digest(key.public_key_raw())[..12]));
        Self::with(&key, name)
    }

    /// The one that everybody makes from the same 32 bytes.
    pub(crate) fn derived(seed: &[u8; 32]) -> Result<Self, rcgen::Error> {
        let mut der = ED25519_PKCS8.to_vec();
        der.extend_from_slice(seed);
        Self::with(&KeyPair::try_from(der)?, NAME.to_owned())
    }

    fn with(key: &KeyPair, name: String) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(key)?;
        let fingerprint = Fingerprint(Sha256::digest(certificate.der()).into());
        Ok(Self { root: Root { pem: certificate.pem(), fingerprint }, key: key.serialize_pem() })
    }

    /// Of certificate and key as PEM; `None` unless it can sign.
    pub(crate) fn parse(certificate: &str, key: &str) -> Option<Self> {
        let authority = Self { root: Root::parse(certificate)?, key: key.to_owned() };
        authority.leaf(0, Duration::ZERO).ok().map(|_| authority)
    }

    /// What others know of it.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Its key as PEM.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// What tells it from others.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.root.fingerprint
    }

    /// A new certificate for a replica with its key, for server and client, to be renewed after
    /// `renewal`.
    pub(crate) fn leaf(&self, id: ReplicaId, renewal: Duration) -> Result<(String, String), rcgen::Error> {
        let issuer = Issuer::from_ca_cert_pem(&self.root.pem, KeyPair::from_pem(&self.key)?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, id.to_string());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        // Clocks differ, and this one may be put back: a certificate that began long ago is valid for them all.
        params.not_before = epoch;
        params.not_after = epoch + now + renewal * RENEWALS_PER_LIFE;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// The replica that a certificate of the cluster is of; `None` when it does not say.
pub(crate) fn replica_of(certificate: &[u8]) -> Option<ReplicaId> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok()?.parse().ok()
}

/// What stands between the lines of a PEM text.
fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_tells_which_replica_it_is_of() {
        let (pem, _) = Authority::generate().unwrap().leaf(42, Duration::ZERO).unwrap();
        let (_, parsed) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        assert_eq!(replica_of(&parsed.contents), Some(42));
        assert_eq!(parsed.parse_x509().unwrap().validity().not_before.timestamp(), 0, "no clock is behind it");
        assert_eq!(replica_of(b"x"), None);
    }

    #[test]
    fn an_authority_and_its_root_come_back() {
        for authority in [Authority::generate().unwrap(), Authority::following().unwrap()] {
            assert!(Authority::parse(authority.root().pem(), authority.key()).unwrap() == authority);
            let pinned = Root::of_token(&authority.root().to_token()).unwrap();
            assert_eq!(pinned.fingerprint(), authority.fingerprint());
            assert!(Authority::parse(authority.root().pem(), "no key").is_none());
        }
        assert!(Root::parse("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_none());
    }
}
