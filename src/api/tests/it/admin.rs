//! Envoy's admin API through the control plane, over mutual TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use api::{ApiState, Connection, DirectAdmin, Settings};
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use http_body_util::BodyExt;
use identity::x509::{Authority, CertificatePair, Purpose, Subject, generate_authority, issue_for_hosts};
use model::{Key, Labels, Timestamp, registry};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use store::{MemoryStore, Store, Txn};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// A loopback address that is not the one on which Envoy would be asked without TLS.
const ADDRESS: &str = "127.0.0.2";

/// The TLS side of an admin listener: it bears the dataplane's address and asks for a certificate.
fn admin_tls(authority: &Authority) -> ServerConfig {
    let pair = issue_for_hosts(authority, &[ADDRESS.to_owned()], Purpose::Server, Timestamp::now()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap()
}

/// Answers every request with its own path, as JSON.
async fn serve(listener: TcpListener, tls: ServerConfig) {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(stream) = acceptor.accept(stream).await else { continue };
        answer(stream).await;
    }
}

async fn serve_socket(listener: UnixListener) {
    while let Ok((stream, _)) = listener.accept().await {
        answer(stream).await;
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = vec![0; 4096];
    let read = stream.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..read]).into_owned();
    let path = request.split_whitespace().nth(1).unwrap();
    let body = json!({ "asked": path, "header": { "key": "authorization", "value": "t.o.k" } }).to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

async fn put(store: &MemoryStore, key: Key, spec: Value) {
    let spec = key.kind.codec.admit(spec).unwrap();
    store.commit(Txn::new().put(key, Labels::new(), spec)).await.unwrap();
}

/// A control plane with one dataplane, whose proxy's admin listens at `admin`.
async fn control_plane(authority: &CertificatePair, admin: SocketAddr) -> axum::Router {
    let store = Arc::new(MemoryStore::new());
    let ca = STANDARD.encode(authority.to_bundle());
    put(&store, Key::global(registry::GLOBAL_SECRET, "envoy-admin-ca"), json!({ "data": ca })).await;
    put(&store, Key::global(registry::MESH, "default"), json!({})).await;
    let dataplane = json!({ "networking": { "address": ADDRESS, "admin": { "port": admin.port() } } });
    put(&store, Key::new(registry::DATAPLANE, "default", "dp"), dataplane).await;
    let mut state = ApiState::new(Arc::clone(&store) as Arc<dyn Store>, Settings::default());
    state.envoy_admin = Some(Arc::new(DirectAdmin::new(store, 9901)));
    api::router(state)
}

async fn ask(router: &axum::Router, what: &str) -> (u16, String, String) {
    let mut request = Request::get(format!("/meshes/default/dataplanes/dp/{what}")).body(Body::empty()).unwrap();
    request.extensions_mut().insert(Connection { peer: ([127, 0, 0, 1], 1).into(), tls: false });
    let response = router.clone().oneshot(request).await.unwrap();
    let media = response.headers()["content-type"].to_str().unwrap().to_owned();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, media, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_proxy_is_asked_with_the_control_planes_certificate() {
    let pair = generate_authority(Subject::ENVOY_ADMIN, Timestamp::now()).unwrap();
    let listener = TcpListener::bind((ADDRESS, 0)).await.unwrap();
    let router = control_plane(&pair, listener.local_addr().unwrap()).await;
    tokio::spawn(serve(listener, admin_tls(&Authority::load(&pair).unwrap())));
    for (what, media, asked) in [
        ("xds?include_eds=true", "application/json", "/config_dump?include_eds=true"),
        ("stats", "text/plain", "/stats?usedonly="),
        ("clusters?format=json", "application/json", "/clusters?format=json"),
    ] {
        let (status, seen, body) = ask(&router, what).await;
        assert_eq!((status, &*seen), (200, media), "{what}: {body}");
        assert!(body.contains(&format!("\"asked\":\"{asked}\"")), "{what}: {body}");
        assert_eq!(body.contains("t.o.k"), !what.starts_with("xds"), "only the dump holds the proxy's token");
    }
}

#[tokio::test]
async fn a_proxy_of_another_authority_is_not_believed() {
    let pair = generate_authority(Subject::ENVOY_ADMIN, Timestamp::now()).unwrap();
    let other = generate_authority(Subject::ENVOY_ADMIN, Timestamp::now()).unwrap();
    let listener = TcpListener::bind((ADDRESS, 0)).await.unwrap();
    let router = control_plane(&pair, listener.local_addr().unwrap()).await;
    tokio::spawn(serve(listener, admin_tls(&Authority::load(&other).unwrap())));
    let (status, _, body) = ask(&router, "stats").await;
    assert_eq!(status, 500, "{body}");
    assert!(body.contains("Internal Server Error"), "{body}");
}

/// A control plane with one dataplane on loopback, whose proxy told this admin socket.
async fn control_plane_with_socket(socket: &Path) -> axum::Router {
    let store = Arc::new(MemoryStore::new());
    put(&store, Key::global(registry::MESH, "default"), json!({})).await;
    let dataplane = json!({ "networking": { "address": "127.0.0.1", "inbound": [{ "port": 80 }] } });
    put(&store, Key::new(registry::DATAPLANE, "default", "dp"), dataplane).await;
    let insight = json!({ "metadata": { "dataplane.admin.socketPath": socket } });
    put(&store, Key::new(registry::DATAPLANE_INSIGHT, "default", "dp"), insight).await;
    let mut state = ApiState::new(Arc::clone(&store) as Arc<dyn Store>, Settings::default());
    state.envoy_admin = Some(Arc::new(DirectAdmin::new(store, 9901)));
    api::router(state)
}

#[tokio::test]
async fn a_proxy_on_loopback_is_asked_at_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kuma-envoy-admin.sock");
    tokio::spawn(serve_socket(UnixListener::bind(&socket).unwrap()));
    let (status, _, body) = ask(&control_plane_with_socket(&socket).await, "clusters").await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("\"asked\":\"/clusters\""), "{body}");

    let other = dir.path().join("other.sock");
    tokio::spawn(serve_socket(UnixListener::bind(&other).unwrap()));
    let (status, _, body) = ask(&control_plane_with_socket(&other).await, "clusters").await;
    assert_eq!(status, 500, "a proxy must not choose what is asked: {body}");
}
