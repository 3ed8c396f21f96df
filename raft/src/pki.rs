//! Who may talk to whom: the cluster's certificate authority and its join token.
//!
//! Every replica holds the authority and signs its own certificate with it; a certificate proves
//! membership, not which member. The join token is the authority's certificate, which the new
//! replica thereby pins, and a secret that lets it in.

use std::io;
use std::path::Path;

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
use crate::types::ReplicaId;

/// The name in every replica's certificate; connections are made by address and checked by this.
const SERVER_NAME: &str = "replica.kuma-cp";

const TOKEN_PREFIX: &str = "kuma-join";

const SECRET_BYTES: usize = 32;

/// The cluster's authority and join secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pki {
    certificate: String,
    key: String,
    secret: [u8; SECRET_BYTES],
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
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "kuma-cp replicas");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key)?;
        Ok(Self { certificate: certificate.pem(), key: key.serialize_pem(), secret: rand::random() })
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

    /// All of it as text: one line with the secret, certificate, key.
    pub(crate) fn to_text(&self) -> String {
        format!("{}\n{}{}", BASE64.encode(self.secret), self.certificate, self.key)
    }

    /// Reads what [`Self::to_text`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        const BEGIN: &str = "-----BEGIN ";
        let (secret, rest) = text.split_once('\n')?;
        let second = rest.match_indices(BEGIN).nth(1)?.0;
        let (certificate, key) = rest.split_at(second);
        let pki = Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            secret: BASE64.decode(secret).ok()?.try_into().ok()?,
        };
        pki.leaf(0).ok().map(|_| pki)
    }

    /// The token that lets a new replica in. Whoever has it can become a replica.
    pub(crate) fn token(&self) -> String {
        let authority = pem_body(&self.certificate);
        format!("{TOKEN_PREFIX}.{authority}.{}", BASE64.encode(self.secret))
    }

    /// Whether this is the join secret, in a time that does not tell how much of it is right.
    pub(crate) fn admits(&self, secret: &[u8]) -> bool {
        Sha256::digest(secret) == Sha256::digest(self.secret)
    }

    /// A new certificate with its key, for server and client.
    fn leaf(&self, id: ReplicaId) -> Result<(String, String), rcgen::Error> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, id.to_string());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// The listener's side: a client certificate is optional, because a new replica has none; the
    /// service refuses all but joining without one.
    pub(crate) fn server_tls(&self, id: ReplicaId) -> Result<ServerTlsConfig, rcgen::Error> {
        let (certificate, key) = self.leaf(id)?;
        Ok(ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(&self.certificate))
            .client_auth_optional(true))
    }

    /// The caller's side.
    pub(crate) fn client_tls(&self, id: ReplicaId) -> Result<ClientTlsConfig, rcgen::Error> {
        let (certificate, key) = self.leaf(id)?;
        Ok(trusting(&self.certificate).identity(Identity::from_pem(certificate, key)))
    }
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
        assert!(Pki::parse(&pki.to_text()).unwrap() == pki);
        let token = JoinToken::parse(&pki.token()).unwrap();
        assert!(pki.admits(&token.secret));
        assert!(!pki.admits(&token.secret[1..]));
        assert!(!pki.admits(b""));
        assert_eq!(pem_body(&token.authority), pem_body(&pki.certificate));
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
