//! TLS of our own clients (kuma-dp, kumactl, the tools) towards a control plane.
//!
//! A control plane without configured certificates makes itself a self-signed one that is at the
//! same time a CA and the server's own certificate. Go and BoringSSL accept such a certificate when
//! it is among the trusted roots; webpki refuses a CA in the place of a server. So beside the usual
//! path validation, a server certificate that *is* one of the given roots is accepted, if name and
//! signature hold: possession of the key is what pins it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Whom a client trusts.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The CAs in this PEM text, and nobody else.
    Pem(String),
    /// Anybody: for development only, and only when the user asked for it.
    Nobody,
}

/// A client configuration that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientTlsError {
    /// The PEM text holds no usable certificate.
    #[error("could not add certificate")]
    BadCa,
    /// The client's own certificate or key is unusable.
    #[error("client certificate or key is not usable: {0}")]
    BadClientCertificate(String),
    /// The TLS library refused.
    #[error(transparent)]
    Tls(#[from] Error),
}

/// A TLS client configuration, TLS 1.2 at least. `client` is a certificate chain and key in PEM.
///
/// # Errors
/// When the PEM texts are unusable.
pub fn client_config(trust: &Trust, client: Option<(&str, &str)>) -> Result<ClientConfig, ClientTlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Pem(pem) => Arc::new(PinningVerifier::new(pem, &provider)?),
        Trust::Nobody => Arc::new(AcceptAnyone(Arc::clone(&provider))),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match client {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => {
            let bad = |e: &dyn std::fmt::Display| ClientTlsError::BadClientCertificate(e.to_string());
            let chain =
                CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|e| bad(&e))?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| bad(&e))?;
            Ok(builder.with_client_auth_cert(chain, key)?)
        }
    }
}

/// Path validation against the roots, or the server's certificate is itself a root.
#[derive(Debug)]
struct PinningVerifier {
    roots: Vec<CertificateDer<'static>>,
    webpki: Arc<WebPkiServerVerifier>,
}

impl PinningVerifier {
    fn new(pem: &str, provider: &Arc<CryptoProvider>) -> Result<Self, ClientTlsError> {
        let roots: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| ClientTlsError::BadCa)?;
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(roots.iter().cloned());
        if added == 0 {
            return Err(ClientTlsError::BadCa);
        }
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
            .build()
            .map_err(|_| ClientTlsError::BadCa)?;
        Ok(Self { roots, webpki })
    }

    fn is_valid_root(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.roots.iter().any(|root| root == certificate)
            && x509_parser::parse_x509_certificate(certificate).is_ok_and(|(_, parsed)| {
                let validity = parsed.validity();
                validity.not_before.timestamp() <= seconds && seconds <= validity.not_after.timestamp()
            })
    }
}

impl ServerCertVerifier for PinningVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::Other(_) | CertificateError::UnknownIssuer | CertificateError::InvalidPurpose,
            )) if self.is_valid_root(end_entity, now) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// For `--skip-verify`: the signature is checked, the certificate is not.
#[derive(Debug)]
struct AcceptAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn self_signed_ca(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    /// One handshake over memory; returns what the client says.
    fn handshake(server: &(String, String), trust: &Trust, name: &'static str) -> Result<(), Error> {
        let chain = vec![CertificateDer::from_pem_slice(server.0.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(server.1.as_bytes()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let mut server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
        let config = client_config(trust, None).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
        let mut wire = Vec::new();
        while client.is_handshaking() {
            wire.clear();
            client.write_tls(&mut wire as &mut dyn Write).unwrap();
            server.read_tls(&mut wire.as_slice() as &mut dyn Read).unwrap();
            server.process_new_packets().unwrap();
            wire.clear();
            server.write_tls(&mut wire as &mut dyn Write).unwrap();
            client.read_tls(&mut wire.as_slice() as &mut dyn Read).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn a_self_signed_ca_is_accepted_as_its_own_server_when_it_is_trusted() {
        let server = self_signed_ca("localhost");
        assert_eq!(handshake(&server, &Trust::Pem(server.0.clone()), "localhost"), Ok(()));
    }

    #[test]
    fn a_trusted_certificate_under_another_name_is_refused() {
        let server = self_signed_ca("localhost");
        assert!(handshake(&server, &Trust::Pem(server.0.clone()), "elsewhere").is_err());
    }

    #[test]
    fn a_certificate_that_nobody_vouches_for_is_refused_unless_verification_is_off() {
        let server = self_signed_ca("localhost");
        let stranger = self_signed_ca("localhost");
        assert!(handshake(&server, &Trust::Pem(stranger.0), "localhost").is_err());
        assert_eq!(handshake(&server, &Trust::Nobody, "localhost"), Ok(()));
    }

    #[test]
    fn text_without_a_certificate_is_named() {
        let error = client_config(&Trust::Pem("nothing".to_owned()), None).unwrap_err();
        assert_eq!(error.to_string(), "could not add certificate");
    }
}
