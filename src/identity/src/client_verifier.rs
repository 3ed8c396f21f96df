//! Which clients a server lets in that asks for certificates.
//!
//! Go takes a self-signed certificate that is among the trusted ones, as `kumactl generate
//! tls-certificate` makes them; webpki refuses a CA in the place of a client. So beside the usual path
//! validation a client certificate that *is* one of the given ones is accepted: possession of its key is
//! what proves the client.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

/// CAs of clients that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected PEM certificates of CAs")]
pub struct BadClientCa;

/// A verifier of clients that trusts the certificates in a PEM text.
///
/// # Errors
/// When there is none in it.
pub fn client_verifier(pem: &str) -> Result<Arc<dyn ClientCertVerifier>, BadClientCa> {
    let trusted: Vec<_> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|_| BadClientCa)?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(trusted.iter().cloned());
    if added == 0 {
        return Err(BadClientCa);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(Arc::new(Verifier { trusted, webpki: webpki.map_err(|_| BadClientCa)? }))
}

#[derive(Debug)]
struct Verifier {
    trusted: Vec<CertificateDer<'static>>,
    webpki: Arc<dyn ClientCertVerifier>,
}

impl Verifier {
    fn is_trusted(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.trusted.iter().any(|trusted| trusted == certificate)
            && x509_parser::parse_x509_certificate(certificate).is_ok_and(|(_, parsed)| {
                let validity = parsed.validity();
                validity.not_before.timestamp() <= seconds && seconds <= validity.not_after.timestamp()
            })
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.webpki.verify_client_cert(end_entity, intermediates, now) {
            Err(Error::InvalidCertificate(
                CertificateError::Other(_) | CertificateError::UnknownIssuer | CertificateError::InvalidPurpose,
            )) if self.is_trusted(end_entity, now) => Ok(ClientCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::Timestamp;

    use super::*;
    use crate::x509::{Authority, Purpose, Subject, generate_authority, issue_for_hosts};

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    #[test]
    fn clients_of_a_trusted_authority_and_trusted_clients_are_let_in() {
        let now = Timestamp::now();
        let pair = generate_authority(Subject::ENVOY_ADMIN, now).unwrap();
        let verifier = client_verifier(&pair.certificate_pem).unwrap();
        let at = |after: u64| UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().unsigned_abs() + after));
        let issued =
            issue_for_hosts(&Authority::load(&pair).unwrap(), &["me".to_owned()], Purpose::Client, now).unwrap();
        verifier.verify_client_cert(&der(&issued.certificate_pem), &[], at(60)).unwrap();
        verifier.verify_client_cert(&der(&pair.certificate_pem), &[], at(60)).unwrap();
        let far = at(60 * 60 * 24 * 365 * 100);
        assert!(verifier.verify_client_cert(&der(&pair.certificate_pem), &[], far).is_err(), "it has expired");
        let other = generate_authority(Subject::ENVOY_ADMIN, now).unwrap();
        assert!(verifier.verify_client_cert(&der(&other.certificate_pem), &[], at(60)).is_err());
        assert_eq!(client_verifier("no pem").err(), Some(BadClientCa));
    }
}
