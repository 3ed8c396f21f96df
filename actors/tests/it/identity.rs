//! Certificates of proxies: issued, kept across reconnects, renewed, and never left out.

use std::collections::BTreeMap;

use actors::duties;
use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{Secret, TlsCertificate, secret};
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use futures::FutureExt;
use identity::CertificatePair;
use identity::token::secret_spec;
use identity::x509::{Subject, generate_authority};
use model::kinds::conditions::ConditionStatus;
use model::kinds::mesh_identity::MeshIdentityStatus;
use model::kinds::mesh_service::{MeshService, MeshServiceStatus, TlsStatus};
use model::registry::{DATAPLANE, MESH_IDENTITY, MESH_SERVICE, MESH_TLS, SECRET};
use model::{Key, Timestamp};
use prost::Message;
use serde_json::json;
use store::{KindFilter, State, Store, Txn};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
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

/// The certificates in a response.
fn certificates(response: &DeltaDiscoveryResponse) -> Vec<TlsCertificate> {
    let secrets = response.resources.iter().filter_map(|r| Secret::decode(&*r.resource.as_ref()?.value).ok());
    let certificate = |secret: Secret| match secret.r#type {
        Some(secret::Type::TlsCertificate(certificate)) => Some(certificate),
        _ => None,
    };
    secrets.filter_map(certificate).collect()
}

/// The next certificate that the proxy is sent, and its key, in PEM.
async fn next_pair(proxy: &mut Proxy) -> (String, String) {
    loop {
        let response = proxy.next().await;
        proxy.answer(&response, None).await;
        if response.type_url != ResourceType::Secret.type_url() {
            continue;
        }
        if let Some(certificate) = certificates(&response).into_iter().next() {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_new_authority_changes_certificates_and_nothing_else() {
    let world = World::new().await;
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    tokio::spawn(duties::run(world.store.clone(), duties::DutySettings::default(), stop));
    let bundled = json!({"insecureAllowSelfSigned": true, "autogenerate": {"enabled": true}});
    let spec = json!({"selector": {"dataplane": {"matchLabels": {}}},
        "provider": {"type": "Bundled", "bundled": bundled}});
    world.put(MESH_IDENTITY, "all", spec).await;
    world.put_labelled(DATAPLANE, "web", &[("kuma.io/workload", "web")], dataplane_spec()).await;
    let of_service = |state: &State| {
        let service = state.get(&Key::new(MESH_SERVICE, "default", "web"))?.clone();
        let is_tls = service.status::<MeshServiceStatus>()?.tls.status == Some(TlsStatus::Ready);
        (is_tls && !service.spec::<MeshService>()?.identities.is_empty()).then_some(service)
    };
    world.until_stored(|state| of_service(state).is_some()).await;
    let mut proxy = connected(&world).await;
    let (sent, mut got) = mpsc::unbounded_channel();
    let accepting = tokio::spawn(async move {
        loop {
            let response = proxy.next().await;
            sent.send((response.type_url.clone(), certificates(&response))).unwrap();
            proxy.answer(&response, None).await;
        }
    });
    let _accepting = AbortOnDropHandle::new(accepting);
    world.until(|control_plane| control_plane.proxies().iter().any(|proxy| proxy.answered.is_some())).await;
    // The service counts the proxy once its insight is written.
    let connected = |state: &State| Some(of_service(state)?.status::<MeshServiceStatus>()?.dataplane_proxies.connected);
    world.until_stored(|state| connected(state) == Some(1)).await;
    world.control_plane.settled(None).await;
    while got.try_recv().is_ok() {}
    let mut services = world.store.watch(Some(world.store.snapshot().revision()), KindFilter::Only(vec![MESH_SERVICE]));

    // One after the other, as users do it: between the two the authority is half there.
    world.delete(SECRET, "all-root-ca").await;
    let failed = |state: &State| {
        let identity = state.get(&Key::new(MESH_IDENTITY, "default", "all"))?;
        Some(identity.status::<MeshIdentityStatus>()?.condition("Ready")?.status == ConditionStatus::False)
    };
    world.until_stored(|state| failed(state) == Some(true)).await;
    world.control_plane.settled(None).await;
    world.delete(SECRET, "all-private-key").await;
    loop {
        let (type_url, certificates) = got.recv().await.unwrap();
        assert_eq!(type_url, ResourceType::Secret.type_url());
        if !certificates.is_empty() {
            break;
        }
    }
    assert!(services.next().now_or_never().is_none(), "a service was written");
}
