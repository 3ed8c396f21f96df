//! Certificate authorities: generated, or given by the user.

use model::{Timestamp, Violations};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData as _, SanType,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{AUTHORITY_VALIDITY_S, BACKDATED_S, CertificatePair, X509Error, date, key_pem, later, rsa_key, serial};

/// Whom a generated authority stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The workloads of a trust domain; the certificate carries its SPIFFE ID.
    TrustDomain(&'a str),
    /// Servers and clients of the control plane, by common name.
    Named(&'a str),
}

impl Subject<'static> {
    /// The authority of Envoy's admin servers and of the control plane as their client.
    pub const ENVOY_ADMIN: Self = Self::Named("Envoy Admin CA");
    /// The authority of the instances of one control plane.
    pub const INTER_CP: Self = Self::Named("Control Plane Intercommunication CA");
}

/// A new self-signed authority, valid for ten years. That of a trust domain has an RSA key, as Kuma's:
/// whoever names ciphers counts on it. It takes tens of milliseconds: call it off the actors. The others
/// sign for the control plane and the admin listener of each proxy, and have an elliptic one.
///
/// # Errors
/// When the name cannot stand in a certificate, or the generator fails.
pub fn generate_authority(subject: Subject<'_>, now: Timestamp) -> Result<CertificatePair, X509Error> {
    let key = match subject {
        Subject::TrustDomain(_) => rsa_key()?,
        Subject::Named(_) => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Kuma");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "Mesh");
    let (Subject::TrustDomain(name) | Subject::Named(name)) = subject;
    params.distinguished_name.push(DnType::CommonName, name);
    if let Subject::TrustDomain(domain) = subject {
        let id = format!("spiffe://{domain}");
        let uri = id.as_str().try_into().map_err(|_| X509Error::Name(id.clone()))?;
        params.subject_alt_names.push(SanType::URI(uri));
    }
    params.serial_number = Some(serial()?);
    params.not_before = date(later(now, -BACKDATED_S))?;
    params.not_after = date(later(now, AUTHORITY_VALIDITY_S))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok(CertificatePair { certificate_pem: certificate.pem(), key_pem: key_pem(&key)? })
}

/// A loaded authority that can sign.
pub struct Authority {
    chain: Vec<CertificateDer<'static>>,
    certificate_pem: String,
    key: KeyPair,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

impl Authority {
    /// Loads a chain and the key of its first certificate.
    ///
    /// # Errors
    /// When one cannot be read, or they do not belong together.
    pub fn load(pair: &CertificatePair) -> Result<Self, X509Error> {
        let bad = |reason: &str| X509Error::KeyPair(reason.to_owned());
        let chain = CertificateDer::pem_slice_iter(pair.certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| bad("failed to parse certificate"))?;
        let first = chain.first().ok_or_else(|| bad("failed to find any PEM data in certificate input"))?;
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes())
            .map_err(|_| bad("failed to find any PEM data in key input"))?;
        let key = KeyPair::try_from(&key).map_err(|_| bad("failed to parse private key"))?;
        let (_, certificate) = X509Certificate::from_der(first).map_err(|_| bad("failed to parse certificate"))?;
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(bad("private key does not match public key"));
        }
        Ok(Self { chain, certificate_pem: pair.certificate_pem.clone(), key })
    }

    /// The chain in PEM, as it was given: what others must trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Whether the first certificate vouches for itself.
    pub fn is_self_signed(&self) -> bool {
        self.chain.first().and_then(|der| X509Certificate::from_der(der).ok()).is_some_and(|(_, certificate)| {
            certificate.subject().as_raw() == certificate.issuer().as_raw()
                && certificate.verify_signature(None).is_ok()
        })
    }

    /// Checks an authority that a user gave against the rules of X.509-SVID; fields are `cert` and
    /// `cert[i]`.
    pub fn check_given(&self, allow_self_signed: bool) -> Violations {
        let mut violations = Violations::new();
        for (at, der) in self.chain.iter().enumerate() {
            let field = format!("cert[{at}]");
            let Ok((_, certificate)) = X509Certificate::from_der(der) else {
                violations.add(field, "not a valid X.509 certificate");
                continue;
            };
            if !certificate.is_ca() {
                violations.add(
                    field.clone(),
                    "basic constraint 'CA' must be set to 'true' (see X509-SVID: 4.1. Basic Constraints)",
                );
            }
            let usage = certificate.key_usage().ok().flatten().map(|extension| extension.value);
            if !usage.is_some_and(|usage| usage.key_cert_sign()) {
                violations.add(
                    field.clone(),
                    "key usage extension 'keyCertSign' must be set (see X509-SVID: 4.3. Key Usage)",
                );
            }
            if usage.is_some_and(|usage| usage.key_agreement()) {
                violations.add(
                    field,
                    "key usage extension 'keyAgreement' must NOT be set (see X509-SVID: Appendix A. X.509 Field Reference)",
                );
            }
        }
        if !allow_self_signed && self.is_self_signed() {
            violations.add("cert", "self-signed certificates are not allowed");
        }
        violations
    }

    pub(super) fn key(&self) -> &KeyPair {
        &self.key
    }

    pub(super) fn issuer(&self) -> Result<Issuer<'_, &KeyPair>, X509Error> {
        let first = self.chain.first().ok_or_else(|| X509Error::KeyPair("no certificate".to_owned()))?;
        Ok(Issuer::from_ca_cert_der(first, &self.key)?)
    }
}
