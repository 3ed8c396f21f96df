//! Certificates of proxies: issued, kept across reconnects, renewed, and never left out.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{Secret, secret};
use identity::CertificatePair;
use identity::token::secret_spec;
use identity::x509::{Subject, generate_authority};
use model::registry::{DATAPLANE, MESH_IDENTITY, MESH_TLS, SECRET};
use model::{Key, Timestamp};
use prost::Message;
use serde_json::json;
use store::{Store, Txn};
use xds::ResourceType;

use crate::world::{Proxy, World, dataplane_spec};

const NAME: &str = "kri_mid_default___all_";

/// A world with a MeshIdentity that is ready, and a dataplane that it is for.
async fn world(expiry: &str) -> (World, CertificatePair) {
    let world = World::new().await;
    let spec = json!({"selector": {"dataplane": {"matchLabels": {}}}, "provider": {"type": "Bundled", "bundled": {
        "insecureAllowSelfSigned": true, "autogenerate": {"enabled": true},
        "certificateParameters": {"expiry": expiry}}}});
    world.put(MESH_IDENTITY, "all", spec).await;
    let ready = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": ""}]});
    let status = (MESH_IDENTITY.codec.decode_status)(ready).unwrap();
    world.store.commit(Txn::new().put_status(Key::new(MESH_IDENTITY, "default", "all"), status)).await.unwrap();
    world.put_labelled(DATAPLANE, "web", &[("kuma.io/workload", "web")], dataplane_spec()).await;
    let authority = generate_authority(Subject::TrustDomain("default.default.mesh.local"), Timestamp::now()).unwrap();
    (world, authority)
}

async fn store_authority(world: &World, authority: &CertificatePair) {
    let spec = |pem: &str| SECRET.codec.admit(secret_spec(pem.as_bytes())).unwrap();
    let key = |name: &str| Key::new(SECRET, "default", name);
    let labels = BTreeMap::new;
    let txn = Txn::new().put(key("all-root-ca"), labels(), spec(&authority.certificate_pem)).put(
        key("all-private-key"),
        labels(),
        spec(&authority.key_pem),
    );
    world.store.commit(txn).await.unwrap();
}

/// The next certificate that the proxy is sent, and its key, in PEM.
async fn next_pair(proxy: &mut Proxy) -> (String, String) {
    loop {
        let response = proxy.next().await;
        proxy.answer(&response, None).await;
        if response.type_url != ResourceType::Secret.type_url() {
            continue;
        }
        for resource in &response.resources {
            let secret = Secret::decode(&*resource.resource.as_ref().unwrap().value).unwrap();
            let Some(secret::Type::TlsCertificate(certificate)) = secret.r#type else { continue };
            let pem = |source: Option<DataSource>| match source.and_then(|source| source.specifier) {
                Some(Specifier::InlineBytes(pem)) => String::from_utf8(pem).unwrap(),
                other => panic!("not inline: {other:?}"),
            };
            return (pem(certificate.certificate_chain), pem(certificate.private_key));
        }
    }
}

/// The next certificate that the proxy is sent, in PEM.
async fn next_certificate(proxy: &mut Proxy) -> String {
    next_pair(proxy).await.0
}

async fn connected(world: &World) -> Proxy {
    let mut proxy = world.proxy("web").await;
    proxy.begin().await;
    proxy.ask(ResourceType::Secret, &[NAME]).await;
    proxy
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_is_kept_when_the_proxy_reconnects() {
    let (world, authority) = world("24h").await;
    store_authority(&world, &authority).await;
    let mut proxy = connected(&world).await;
    let first = next_certificate(&mut proxy).await;
    drop(proxy);
    let mut proxy = connected(&world).await;
    assert_eq!(next_certificate(&mut proxy).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_is_renewed_before_it_expires() {
    let (world, authority) = world("1s").await;
    store_authority(&world, &authority).await;
    let mut proxy = connected(&world).await;
    let first = next_certificate(&mut proxy).await;
    assert_ne!(next_certificate(&mut proxy).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_whose_certificate_cannot_be_made_gets_nothing_rather_than_plaintext() {
    let (world, authority) = world("24h").await;
    let mut proxy = connected(&world).await;
    world.until(|control_plane| !control_plane.proxies().is_empty()).await;
    let revision = world.service("api", 80).await;
    world.until(|control_plane| control_plane.propagation(revision).folded).await;
    assert_eq!(world.control_plane.proxies()[0].answered, None);
    store_authority(&world, &authority).await;
    // Whatever is sent first is sent with the certificate in force.
    assert!(next_certificate(&mut proxy).await.contains("BEGIN CERTIFICATE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn key_follows_the_authority_when_the_mesh_names_ciphers() {
    let (world, authority) = world("24h").await;
    store_authority(&world, &authority).await;
    let mut proxy = connected(&world).await;
    assert!(next_pair(&mut proxy).await.1.starts_with("-----BEGIN EC PRIVATE KEY"));
    let ciphers = json!({"rules": [{"default": {"tlsCiphers": ["ECDHE-RSA-AES128-GCM-SHA256"]}}]});
    world.put(MESH_TLS, "rsa", ciphers).await;
    assert!(next_pair(&mut proxy).await.1.starts_with("-----BEGIN RSA PRIVATE KEY"));
    world.delete(MESH_TLS, "rsa").await;
    assert!(next_pair(&mut proxy).await.1.starts_with("-----BEGIN EC PRIVATE KEY"));
}
