//! Certificates as others read them.

use jiff::SignedDuration;
use model::Timestamp;
use model::spiffe::SpiffeId;
use rcgen::{CertificateParams, IsCa, KeyPair, KeyUsagePurpose};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::*;

fn now() -> Timestamp {
    "2026-05-01T10:00:00Z".parse().unwrap()
}

fn id() -> SpiffeId {
    SpiffeId::parse("spiffe://default.east.mesh.local/workload/web").unwrap()
}

fn check(pem: &str, look: impl FnOnce(&X509Certificate<'_>)) {
    let der = first_certificate(pem).unwrap();
    look(&X509Certificate::from_der(&der).unwrap().1);
}

fn uris(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().unwrap().map(|san| &san.value.general_names);
    names
        .into_iter()
        .flatten()
        .map(|name| match name {
            GeneralName::URI(uri) => (*uri).to_owned(),
            other => other.to_string(),
        })
        .collect()
}

#[test]
fn a_generated_authority_is_that_of_kuma() {
    let pair = generate_authority(Subject::TrustDomain("default.east.mesh.local"), now()).unwrap();
    assert!(pair.key_pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
    check(&pair.certificate_pem, |certificate| {
        assert_eq!(certificate.subject().to_string(), "O=Kuma, OU=Mesh, CN=default.east.mesh.local");
        assert_eq!(uris(certificate), ["spiffe://default.east.mesh.local"]);
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
        let at = now().as_second();
        assert_eq!(certificate.validity().not_before.timestamp(), at - 10);
        assert_eq!(certificate.validity().not_after.timestamp(), at + 10 * 365 * 86_400);
    });
    let authority = Authority::load(&pair).unwrap();
    assert!(authority.is_self_signed());
    assert!(authority.check_given(true).is_empty());
    assert_eq!(authority.check_given(false).to_string(), "cert: self-signed certificates are not allowed");
}

#[test]
fn workload_certificates_name_one_workload_and_have_the_kind_of_key_that_is_asked_for() {
    let rsa = generate_authority(Subject::TrustDomain("default.east.mesh.local"), now()).unwrap();
    let ca = |algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).unwrap();
        CertificatePair { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
    };
    for (pair, leaf_key, tag) in [
        (rsa.clone(), LeafKey::Quick, "EC PRIVATE KEY"),
        (rsa, LeafKey::LikeAuthority, "RSA PRIVATE KEY"),
        (ca(&rcgen::PKCS_ECDSA_P256_SHA256), LeafKey::LikeAuthority, "EC PRIVATE KEY"),
        (ca(&rcgen::PKCS_ECDSA_P384_SHA384), LeafKey::Quick, "EC PRIVATE KEY"),
        (ca(&rcgen::PKCS_ED25519), LeafKey::Quick, "PRIVATE KEY"),
    ] {
        let authority = Authority::load(&pair).unwrap();
        let leaf = issue_workload(&authority, &id(), leaf_key, validity(None), now()).unwrap();
        assert!(leaf.pair.key_pem.starts_with(&format!("-----BEGIN {tag}-----")), "{}", leaf.pair.key_pem);
        Authority::load(&leaf.pair).expect("certificate and key belong together");
        let issuer = first_certificate(&pair.certificate_pem).unwrap();
        let issuer = X509Certificate::from_der(&issuer).unwrap().1;
        check(&leaf.pair.certificate_pem, |certificate| {
            certificate.verify_signature(Some(issuer.public_key())).unwrap();
            assert_eq!(certificate.subject().to_string(), "");
            assert_eq!(uris(certificate), [id().as_str()]);
            assert!(certificate.subject_alternative_name().unwrap().unwrap().critical);
            assert!(!certificate.is_ca() && certificate.basic_constraints().unwrap().is_some());
            let usage = certificate.key_usage().unwrap().unwrap().value;
            assert!(usage.key_encipherment() && usage.key_agreement() && usage.digital_signature());
            let extended = certificate.extended_key_usage().unwrap().unwrap().value;
            assert!(extended.server_auth && extended.client_auth);
        });
        assert_eq!(leaf.expires_at, now() + SignedDuration::from_hours(120));
        assert_eq!(leaf.renew_at(), now() + SignedDuration::from_hours(96));
    }
}

#[test]
fn a_zero_validity_is_the_default() {
    assert_eq!(validity(Some(SignedDuration::ZERO)), SignedDuration::from_hours(120));
    assert_eq!(validity(Some(SignedDuration::from_mins(5))), SignedDuration::from_mins(5));
}

#[test]
fn given_authorities_are_checked() {
    let one = generate_authority(Subject::ENVOY_ADMIN, now()).unwrap();
    let other = generate_authority(Subject::INTER_CP, now()).unwrap();
    let mixed = CertificatePair { key_pem: other.key_pem.clone(), ..one.clone() };
    assert_eq!(
        Authority::load(&mixed).unwrap_err().to_string(),
        "not a valid TLS key pair: private key does not match public key"
    );
    let nothing = CertificatePair { certificate_pem: "x".to_owned(), ..one.clone() };
    assert!(matches!(Authority::load(&nothing), Err(X509Error::KeyPair(_))));
    let leaf = issue_workload(&Authority::load(&one).unwrap(), &id(), LeafKey::Quick, validity(None), now()).unwrap();
    let text = Authority::load(&leaf.pair).unwrap().check_given(false).to_string();
    for part in
        ["cert[0]: basic constraint 'CA' must be set", "'keyCertSign' must be set", "'keyAgreement' must NOT be set"]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn bundles_of_certificate_and_key_come_apart_again() {
    let pair = generate_authority(Subject::ENVOY_ADMIN, now()).unwrap();
    assert_eq!(CertificatePair::from_bundle(&pair.to_bundle()), Some(pair));
    assert_eq!(CertificatePair::from_bundle("nothing"), None);
}

#[test]
fn trust_grows_and_never_repeats() {
    let one = generate_authority(Subject::TrustDomain("a"), now()).unwrap().certificate_pem;
    let two = generate_authority(Subject::TrustDomain("a"), now()).unwrap().certificate_pem;
    let mut bundles = Vec::new();
    assert!(append_to_bundle(&mut bundles, &one) && append_to_bundle(&mut bundles, &two));
    assert!(!append_to_bundle(&mut bundles, &one));
    assert_eq!(bundles.len(), 2);
}

#[test]
fn server_certificates_name_their_hosts() {
    let hosts = ["cp.local".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let pair = generate_self_signed(
        SelfSignedServer { common_name: "kuma", hosts: &hosts, algorithm: KeyAlgorithm::P256 },
        now(),
    )
    .unwrap();
    check(&pair.certificate_pem, |certificate| {
        assert!(certificate.is_ca());
        assert_eq!(certificate.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 3);
        assert_eq!(certificate.validity().not_before.timestamp(), now().as_second() - 300);
    });
    let authority = Authority::load(&generate_authority(Subject::ENVOY_ADMIN, now()).unwrap()).unwrap();
    let client = issue_for_hosts(&authority, &["kuma-cp".to_owned()], Purpose::Client, now()).unwrap();
    check(&client.certificate_pem, |certificate| {
        let extended = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.client_auth && !extended.server_auth);
        assert_eq!(certificate.issuer().to_string(), "O=Kuma, OU=Mesh, CN=Envoy Admin CA");
    });
}
