//! Bundles of trusted certificates, as a MeshTrust holds them.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// The first certificate of a PEM text, in DER.
pub fn first_certificate(pem: &str) -> Option<Vec<u8>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok().map(|certificate| certificate.to_vec())
}

/// Adds an authority to the bundles of a MeshTrust unless one of them begins with an equal
/// certificate. Bundles are never removed: what was signed before must stay trusted. Tells whether
/// anything was added.
pub fn append_to_bundle(bundles: &mut Vec<String>, authority_pem: &str) -> bool {
    let authority = first_certificate(authority_pem);
    if authority.is_some() && bundles.iter().any(|bundle| first_certificate(bundle) == authority) {
        return false;
    }
    bundles.push(authority_pem.to_owned());
    true
}
