//! Certificates of workloads (X.509-SVIDs).

use jiff::SignedDuration;
use model::Timestamp;
use model::spiffe::SpiffeId;
use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};

use super::authority::Authority;
use super::{BACKDATED_S, CertificatePair, X509Error, date, key_pem, later, leaf_key as new_key, serial};

/// Validity of workload certificates when the MeshIdentity does not say: five days.
const DEFAULT_VALIDITY: SignedDuration = SignedDuration::from_hours(120);

/// The certificate of one proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadCertificate {
    /// Certificate and key.
    pub pair: CertificatePair,
    /// Whom it names.
    pub spiffe_id: SpiffeId,
    /// When it was made.
    pub issued_at: Timestamp,
    /// Until when it is valid.
    pub expires_at: Timestamp,
}

impl WorkloadCertificate {
    /// When a new one is due: at four fifths of its life.
    pub fn renew_at(&self) -> Timestamp {
        let lifetime = self.expires_at.as_second() - self.issued_at.as_second();
        later(self.issued_at, lifetime / 5 * 4)
    }
}

/// Which kind of key a workload gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafKey {
    /// ECDSA P-256 under an RSA authority: it is made in microseconds, and a handshake with it costs
    /// a tenth. Otherwise the kind of the authority's.
    Quick,
    /// The kind of the authority's, as Kuma does. RSA costs tens of milliseconds.
    LikeAuthority,
}

/// The validity in force for `certificateParameters.expiry`. Nothing, and zero, are the default: a
/// certificate that is born expired would be issued again and again.
pub fn validity(expiry: Option<SignedDuration>) -> SignedDuration {
    expiry.filter(SignedDuration::is_positive).unwrap_or(DEFAULT_VALIDITY)
}

/// Makes a key and a certificate for it. Call it off the actors: see [`LeafKey::LikeAuthority`].
///
/// # Errors
/// When the authority's kind of key is unknown, or the signer fails.
pub fn issue_workload(
    authority: &Authority,
    spiffe_id: &SpiffeId,
    leaf_key: LeafKey,
    validity: SignedDuration,
    now: Timestamp,
) -> Result<WorkloadCertificate, X509Error> {
    let key = new_key(authority.key(), leaf_key)?;
    let expires_at = later(now, validity.as_secs());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let uri = spiffe_id.as_str().try_into().map_err(|_| X509Error::Name(spiffe_id.to_string()))?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.serial_number = Some(serial()?);
    params.not_before = date(later(now, -BACKDATED_S))?;
    params.not_after = date(expires_at)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages =
        vec![KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::KeyAgreement, KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &authority.issuer()?)?;
    let pair = CertificatePair { certificate_pem: certificate.pem(), key_pem: key_pem(&key)? };
    Ok(WorkloadCertificate { pair, spiffe_id: spiffe_id.clone(), issued_at: now, expires_at })
}
