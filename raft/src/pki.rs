//! Who may talk to whom: the cluster's certificate authority and its join token.
//!
//! Every replica holds the authority and signs its own certificate with it, anew from time to time;
//! a certificate proves membership and tells which member. The join token is the authority's
//! certificate, which the new replica thereby pins, and a secret that lets it in. The secret can be
//! replaced: of two, the one of the higher generation holds.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use sha2::{Digest, Sha256};
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::codec::CodecError;
use crate::keys::write_private;
use crate::log::invalid;
use crate::rpc::Request;
use crate::types::ReplicaId;

/// The name in every replica's certificate; connections are made by address and checked by this.
const SERVER_NAME: &str = "replica.kuma-cp";

const TOKEN_PREFIX: &str = "kuma-join";

const SECRET_BYTES: usize = 32;

/// How far a certificate begins in the past: clocks differ.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// A certificate holds for this many times the interval of its renewal.
const RENEWALS_PER_LIFE: u32 = 3;

/// What stands before the 32 bytes of an Ed25519 key in PKCS#8 (RFC 8410, section 7).
const ED25519_PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// The cluster's authority and join secret. Clones share the secret.
#[derive(Clone)]
pub(crate) struct Pki {
    certificate: String,
    key: String,
    secret: Arc<ArcSwap<JoinSecret>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct JoinSecret {
    generation: u64,
    bytes: [u8; SECRET_BYTES],
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki").finish_non_exhaustive()
    }
}

/// What a new replica learns from the token.
#[derive(Clone, Debug)]
pub(crate) struct JoinToken {
    authority: String,
    /// What it shows.
    pub(crate) secret: Vec<u8>,
}

impl Pki {
    /// A new authority and secret.
    pub(crate) fn generate() -> Result<Self, rcgen::Error> {
        Self::with(&KeyPair::generate()?, rand::random())
    }

    /// The authority and secret that all replicas with this text have in common, without a word.
    pub(crate) fn of_shared_secret(text: &str) -> Result<Self, rcgen::Error> {
        let derived = |purpose: &str| Sha256::digest(format!("kuma-cp replicas {purpose}\n{text}"));
        let mut der = ED25519_PKCS8.to_vec();
        der.extend_from_slice(&derived("authority"));
        Self::with(&KeyPair::try_from(der)?, derived("join secret").into())
    }

    fn with(key: &KeyPair, secret: [u8; SECRET_BYTES]) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "kuma-cp replicas");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(key)?;
        let secret = Arc::new(ArcSwap::from_pointee(JoinSecret { generation: 0, bytes: secret }));
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem(), secret })
    }

    /// Generation of the join secret.
    pub(crate) fn generation(&self) -> u64 {
        self.secret.load().generation
    }

    /// The next join secret.
    pub(crate) fn next_secret(&self) -> (u64, [u8; SECRET_BYTES]) {
        (self.generation() + 1, rand::random())
    }

    /// Takes a join secret, unless it has a newer one; tells whether it did.
    pub(crate) fn take_secret(&self, generation: u64, bytes: [u8; SECRET_BYTES]) -> bool {
        let newer = generation > self.generation();
        if newer {
            self.secret.store(Arc::new(JoinSecret { generation, bytes }));
        }
        newer
    }

    /// What tells another replica the join secret.
    pub(crate) fn secret_request(&self) -> Request {
        let JoinSecret { generation, bytes } = **self.secret.load();
        Request::Secret { generation, secret: bytes }
    }

    /// Reads the file; `None` when there is none.
    pub(crate) fn load(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text)
                .map(Some)
                .ok_or_else(|| invalid(CodecError::Corrupted(format!("{} is damaged", path.display())))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the file, for the owner only.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        write_private(path, self.to_text().as_bytes())
    }

    /// All of it as text: one line with the secret and its generation unless that is 0, certificate,
    /// key.
    pub(crate) fn to_text(&self) -> String {
        let JoinSecret { generation, bytes } = **self.secret.load();
        let generation = if generation > 0 { format!(" {generation}") } else { String::new() };
        format!("{}{generation}\n{}{}", BASE64.encode(bytes), self.certificate, self.key)
    }

    /// Reads what [`Self::to_text`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        const BEGIN: &str = "-----BEGIN ";
        let (secret, rest) = text.split_once('\n')?;
        let (secret, generation) = secret.split_once(' ').unwrap_or((secret, "0"));
        let second = rest.match_indices(BEGIN).nth(1)?.0;
        let (certificate, key) = rest.split_at(second);
        let pki = Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            secret: Arc::new(ArcSwap::from_pointee(JoinSecret {
                generation: generation.parse().ok()?,
                bytes: BASE64.decode(secret).ok()?.try_into().ok()?,
            })),
        };
        pki.leaf(0, BACKDATED).ok().map(|_| pki)
    }

    /// The token that lets a new replica in. Whoever has it can become a replica.
    pub(crate) fn token(&self) -> String {
        let authority = pem_body(&self.certificate);
        format!("{TOKEN_PREFIX}.{authority}.{}", BASE64.encode(self.secret.load().bytes))
    }

    /// Whether this is the join secret, in a time that does not tell how much of it is right.
    pub(crate) fn admits(&self, secret: &[u8]) -> bool {
        Sha256::digest(secret) == Sha256::digest(self.secret.load().bytes)
    }

    /// A new certificate with its key, for server and client, to be renewed after `renewal`.
    fn leaf(&self, id: ReplicaId, renewal: Duration) -> Result<(String, String), rcgen::Error> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, id.to_string());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + now.saturating_sub(BACKDATED);
        params.not_after = epoch + now + renewal * RENEWALS_PER_LIFE;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// The listener's side: a client certificate is optional, because a new replica has none; the
    /// service refuses all but joining without one.
    pub(crate) fn server_tls(&self, id: ReplicaId, renewal: Duration) -> Result<ServerTlsConfig, rcgen::Error> {
        let (certificate, key) = self.leaf(id, renewal)?;
        Ok(ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(&self.certificate))
            .client_auth_optional(true))
    }

    /// The caller's side.
    pub(crate) fn client_tls(&self, id: ReplicaId, renewal: Duration) -> Result<ClientTlsConfig, rcgen::Error> {
        let (certificate, key) = self.leaf(id, renewal)?;
        Ok(trusting(&self.certificate).identity(Identity::from_pem(certificate, key)))
    }
}

/// The replica that a certificate of the cluster is of; `None` when it does not say.
pub(crate) fn replica_of(certificate: &[u8]) -> Option<ReplicaId> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    name.as_str().ok()?.parse().ok()
}

fn trusting(authority: &str) -> ClientTlsConfig {
    ClientTlsConfig::new().domain_name(SERVER_NAME).ca_certificate(Certificate::from_pem(authority))
}

/// The body of a PEM text as unpadded URL-safe base64.
fn pem_body(pem: &str) -> String {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    body.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
}

impl JoinToken {
    /// Reads a token; `None` when it is none.
    pub(crate) fn parse(token: &str) -> Option<Self> {
        let mut parts = token.trim().split('.');
        let (prefix, authority, secret) = (parts.next()?, parts.next()?, parts.next()?);
        if prefix != TOKEN_PREFIX || parts.next().is_some() {
            return None;
        }
        let der = BASE64.decode(authority).ok()?;
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let authority = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        Some(Self { authority, secret: BASE64.decode(secret).ok()? })
    }

    /// The new replica's side of its first call: it trusts nobody but the pinned authority.
    pub(crate) fn client_tls(&self) -> ClientTlsConfig {
        trusting(&self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_back_and_the_token_fits_it() {
        let pki = Pki::generate().unwrap();
        assert_eq!(Pki::parse(&pki.to_text()).unwrap().to_text(), pki.to_text());
        let token = JoinToken::parse(&pki.token()).unwrap();
        assert!(pki.admits(&token.secret));
        assert!(!pki.admits(&token.secret[1..]));
        assert!(!pki.admits(b""));
        assert_eq!(pem_body(&token.authority), pem_body(&pki.certificate));
    }

    #[test]
    fn a_newer_join_secret_replaces_the_older_one() {
        let pki = Pki::generate().unwrap();
        let former = JoinToken::parse(&pki.token()).unwrap();
        let (generation, secret) = pki.next_secret();
        assert!(pki.take_secret(generation, secret));
        assert!(!pki.take_secret(generation, [7; 32]) && !pki.take_secret(0, [7; 32]));
        assert!(pki.admits(&secret) && !pki.admits(&former.secret));
        let read = Pki::parse(&pki.to_text()).unwrap();
        assert!(read.admits(&secret) && read.generation() == 1);
    }

    #[test]
    fn replicas_with_one_secret_have_one_authority() {
        let [one, same, other] = ["s3cret", "s3cret", "another"].map(|text| Pki::of_shared_secret(text).unwrap());
        assert_eq!(one.token(), same.token());
        assert_ne!(one.token(), other.token());
        assert!(Pki::parse(&one.to_text()).is_some());
    }

    #[test]
    fn a_certificate_tells_which_replica_it_is_of() {
        let (pem, _) = Pki::generate().unwrap().leaf(42, BACKDATED).unwrap();
        let (_, parsed) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        assert_eq!(replica_of(&parsed.contents), Some(42));
        assert_eq!(replica_of(b"x"), None);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "kuma-join", "kuma-join.x", "other.YQ.YQ", "kuma-join.YQ.YQ.YQ", "kuma-join.*.YQ"] {
            assert!(JoinToken::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let text = Pki::generate().unwrap().to_text();
        for cut in [0, 10, 100, text.len() / 2] {
            assert!(Pki::parse(&text[..cut]).is_none(), "cut at {cut}");
        }
    }
}
