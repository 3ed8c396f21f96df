//! Bootstraps over HTTP, as `kuma-dp` asks for them.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use identity::x509::{KeyAlgorithm, SelfSignedServer, generate_self_signed};
use model::kinds::mesh::Mesh;
use model::{Labels, Spec, Timestamp};
use serde_json::Value;
use store::{MemoryStore, Txn};
use tower::ServiceExt;

use super::*;
use crate::settings::TlsSettings;

fn service() -> (tempfile::TempDir, Arc<BootstrapService>) {
    let dir = tempfile::tempdir().unwrap();
    let files = TlsSettings { certificate: dir.path().join("crt"), key: dir.path().join("key") };
    let hosts = ["localhost".to_owned(), "10.0.0.1".to_owned()];
    let pair = generate_self_signed(
        SelfSignedServer { common_name: "cp", hosts: &hosts, algorithm: KeyAlgorithm::P256 },
        Timestamp::now(),
    )
    .unwrap();
    std::fs::write(&files.certificate, pair.certificate_pem).unwrap();
    std::fs::write(&files.key, pair.key_pem).unwrap();
    let store = MemoryStore::new();
    let dataplane = json!({"networking": {"address": "10.1.1.1", "inbound": [{"port": 80}]}});
    let labels = Labels::from([(WORKLOAD.to_owned(), "web".to_owned())]);
    let txn = Txn::new().put(Key::global(MESH, "default"), Labels::new(), Spec::of(Mesh::default()).unwrap()).put(
        Key::new(DATAPLANE, "default", "web-1"),
        labels,
        DATAPLANE.codec.admit(dataplane).unwrap(),
    );
    store.commit_at(&txn, Timestamp::now()).unwrap();
    let variable = |_: &str| None;
    let settings = crate::settings::load(None, &variable).unwrap().settings;
    let service = BootstrapService {
        store: Arc::new(store),
        certificate: ServedCertificate::load(files).unwrap(),
        params: settings.bootstrap_params(),
        token_required: true,
    };
    (dir, Arc::new(service))
}

async fn ask(host: &str, accept: &str, body: &Value) -> (StatusCode, String) {
    let (_dir, service) = service();
    let request = Request::post("/bootstrap").header("host", host).header("accept", accept);
    let request = request.body(Body::from(body.to_string())).unwrap();
    let response = crate::dp_server::router(service, Router::new()).oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

fn request() -> Value {
    json!({"mesh": "default", "name": "web-1", "dataplaneToken": "t", "workdir": "/run/dp"})
}

fn with(key: &str, value: impl Into<Value>) -> Value {
    let mut request = request();
    request[key] = value.into();
    request
}

#[tokio::test]
async fn a_stored_dataplane_gets_its_bootstrap() {
    let (status, body) = ask("localhost:5678", "application/json", &request()).await;
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["kumaSidecarConfiguration"]["networking"]["address"], "10.1.1.1");
    assert_eq!(answer["kumaSidecarConfiguration"]["metrics"]["aggregate"], Value::Null);
    let yaml = STANDARD.decode(answer["bootstrap"].as_str().unwrap()).unwrap();
    let bootstrap = model::yaml::read(std::str::from_utf8(&yaml).unwrap()).unwrap();
    assert_eq!(bootstrap["node"]["id"], "default.web-1");
    assert_eq!(bootstrap["node"]["cluster"], "web");
    assert_eq!(bootstrap["admin"]["address"]["pipe"]["mode"], 384);

    let (_, plain) = ask("10.0.0.1", "*/*", &request()).await;
    assert!(plain.contains("id: default.web-1"), "{plain}");
}

#[tokio::test]
async fn a_dataplane_may_be_brought_along() {
    let resource = "type: Dataplane\nmesh: default\nname: new-1\nnetworking: {address: 10.2.2.2}\n";
    let (status, body) = ask("localhost", "*/*", &with("dataplaneResource", resource)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let bootstrap = model::yaml::read(&body).unwrap();
    let text = bootstrap["node"]["metadata"]["dataplane.resource"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap()["name"], "new-1");
}

#[tokio::test]
async fn refusals_are_those_that_kuma_dp_understands() {
    let not_ready = "type: Dataplane\nmesh: nowhere\nname: a\nnetworking: {address: 10.2.2.2}\n";
    for (host, body, status, text) in [
        ("localhost", with("name", "nobody"), 404, ""),
        ("localhost", with("mesh", "nowhere"), 404, ""),
        ("localhost", with("dataplaneToken", ""), 422, "Dataplane Token is required. Generate token using"),
        (
            "evil.example",
            request(),
            400,
            "A data plane proxy is trying to connect to the control plane using \"evil.example\" address, but the certificate in the control plane has the following SANs [\"10.0.0.1\" \"localhost\"]",
        ),
        ("localhost", with("proxyType", "ingress"), 500, ""),
        ("localhost", with("dataplaneResource", not_ready), 422, "mesh: mesh \"nowhere\" does not exist"),
        ("localhost", with("dataplaneResource", "type: Mesh\nname: x\n"), 500, ""),
        ("localhost", Value::from("no object"), 400, ""),
    ] {
        let (got, answer) = ask(host, "application/json", &body).await;
        assert_eq!(got.as_u16(), status, "{body}: {answer}");
        assert!(answer.starts_with(text) && (!text.is_empty() || answer.is_empty()), "{body}: {answer}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_no_authority_cannot_be_trusted() {
    let root = identity::x509::generate_authority(identity::x509::Subject::INTER_CP, Timestamp::now()).unwrap();
    let authority = identity::x509::Authority::load(&root).unwrap();
    let purpose = identity::x509::Purpose::Server;
    let leaf = identity::x509::issue_for_hosts(&authority, &["cp".to_owned()], purpose, Timestamp::now()).unwrap();
    let (status, text) = ask("localhost", "*/*", &with("caCert", leaf.certificate_pem)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.starts_with("A data plane proxy is trying to verify the control plane using"), "{text}");
}

#[test]
fn ports_are_taken_off_hosts() {
    for (host, name) in
        [("cp:5678", "cp"), ("cp", "cp"), ("[::1]:5678", "::1"), ("::1", "::1"), ("10.0.0.1:1", "10.0.0.1")]
    {
        assert_eq!(host_without_port(host), name);
    }
}
