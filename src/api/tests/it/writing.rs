//! Creating, replacing and deleting.

use api::Settings;
use model::labels::Site;
use model::{Key, registry};
use serde_json::{Value, json};
use store::Store;

use crate::server::{Server, dataplane};

fn timeout(name: &str, labels: Value) -> Value {
    json!({
        "type": "MeshTimeout",
        "name": name,
        "mesh": "default",
        "labels": labels,
        "spec": { "targetRef": { "kind": "Mesh" }, "to": [{
            "targetRef": { "kind": "Mesh" },
            "default": { "idleTimeout": "20s" },
        }] },
    })
}

#[tokio::test]
async fn a_mesh_comes_with_its_policies_and_key_at_one_revision() {
    let server = Server::new();
    let answer = server.local("PUT /meshes/shop", Some(json!({ "type": "Mesh", "name": "shop" }))).await;
    assert_eq!((answer.status, answer.json()), (201, json!({})));
    let state = server.store.snapshot();
    assert_eq!(answer.revision(), 1);
    assert_eq!(state.revision().0, 1);
    let names: Vec<_> = state.iter().map(|r| r.key.to_string()).collect();
    assert_eq!(
        names,
        [
            "Mesh/shop",
            "MeshCircuitBreaker/shop/mesh-circuit-breaker-all-shop",
            "MeshRetry/shop/mesh-retry-all-shop",
            "MeshTimeout/shop/mesh-timeout-all-shop",
            "MeshTimeout/shop/mesh-timeout-to-all-shop",
            "Secret/shop/dataplane-token-signing-key-shop-1",
        ]
    );
    let deleted = server.local("DELETE /meshes/shop", None).await;
    assert_eq!((deleted.status, deleted.revision()), (200, 2));
    assert!(server.store.snapshot().is_empty(), "a mesh takes with it all that it owns");
    assert_eq!(server.local("DELETE /meshes/shop", None).await.status, 404);
}

#[tokio::test]
async fn default_policies_can_be_skipped_by_type() {
    let server = Server::new();
    let mesh = json!({ "type": "Mesh", "name": "m", "skipCreatingInitialPolicies": ["MeshTimeout", "MeshRetry"] });
    server.local("PUT /meshes/m", Some(mesh)).await;
    let state = server.store.snapshot();
    let count = |kind| state.count(kind);
    assert_eq!([registry::MESH_TIMEOUT, registry::MESH_RETRY, registry::MESH_CIRCUIT_BREAKER].map(count), [0, 0, 1]);
}

#[tokio::test]
async fn a_mesh_with_dataplanes_stays() {
    let server = Server::new();
    server.mesh("default").await;
    server.dataplane("default", "dp-1").await;
    let answer = server.local("DELETE /meshes/default", None).await;
    assert_eq!(answer.status, 400);
    let reason = "unable to delete mesh, there are still some dataplanes attached";
    assert_eq!(answer.faults(), [("mesh".to_owned(), reason.to_owned())]);
    server.local("DELETE /meshes/default/dataplanes/dp-1", None).await;
    assert_eq!(server.local("DELETE /meshes/default", None).await.status, 200);
}

#[tokio::test]
async fn all_faults_of_metadata_are_listed() {
    let server = Server::new();
    server.mesh("default").await;
    let mut body = timeout("Wrong", json!({ "kuma.io/origin": "moon", "a/b/c": "x" }));
    body["mesh"] = json!("other");
    let answer = server.local("PUT /meshes/default/meshtimeouts/right", Some(body)).await;
    assert_eq!((answer.status, answer.json()["title"].clone()), (400, json!("Could not process a resource")));
    let fields: Vec<_> = answer.faults().into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["name", "mesh", "labels[\"kuma.io/origin\"]", "labels[\"a/b/c\"]", "name"]);
}

#[tokio::test]
async fn malformed_bodies_are_named_by_their_type() {
    let server = Server::new();
    let mut request = http::Request::put("/meshes/m").header("content-type", "application/json");
    request = request.header("host", "localhost");
    let answer = server.raw(request.body(axum::body::Body::from("{,}")).unwrap()).await;
    assert_eq!((answer.status, answer.json()["title"].clone()), (400, json!("Bad Request")));
    assert!(answer.json()["detail"].as_str().unwrap().starts_with("invalid Mesh object: \""), "{}", answer.text);
}

#[tokio::test]
async fn a_resource_of_an_unknown_mesh_is_not_found() {
    let server = Server::new();
    let answer = server.local("PUT /meshes/none/dataplanes/dp", Some(dataplane("none", "dp"))).await;
    assert_eq!((answer.status, answer.json()["title"].clone()), (404, json!("Failed to retrieve Mesh")));
}

#[tokio::test]
async fn an_update_replaces_spec_and_labels_and_keeps_the_creation_time() {
    let server = Server::new();
    server.mesh("default").await;
    let path = "/meshes/default/meshtimeouts/t";
    let put = format!("PUT {path}");
    assert_eq!(server.local(&put, Some(timeout("t", json!({ "team": "a" })))).await.status, 201);
    let first = server.local(&format!("GET {path}"), None).await.json();
    assert_eq!(server.local(&put, Some(timeout("t", json!({})))).await.status, 200);
    let second = server.local(&format!("GET {path}"), None).await.json();
    assert_eq!(first["labels"]["team"], "a");
    assert_eq!(second["labels"]["team"], Value::Null);
    assert_eq!(first["creationTime"], second["creationTime"]);
}

#[tokio::test]
async fn a_read_tells_the_revision_of_the_last_write() {
    let server = Server::new();
    server.mesh("a").await;
    server.mesh("b").await;
    assert_eq!(server.local("GET /meshes/a", None).await.revision(), 1);
    assert_eq!(server.local("GET /meshes/b", None).await.revision(), 2);
}

#[tokio::test]
async fn what_another_control_plane_provides_is_read_only() {
    let global = Server::with(Settings { site: Site::Global, ..Settings::default() });
    let answer = global.local("PUT /meshes/default/dataplanes/dp", Some(dataplane("default", "dp"))).await;
    assert_eq!((answer.status, answer.json()["title"].clone()), (405, json!("Method not allowed")));
    assert!(answer.json()["detail"].as_str().unwrap().starts_with("On global control plane"));
    let site = Site::Zone { name: "z".to_owned(), federated: true, kubernetes: false };
    let zone = Server::with(Settings { site, ..Settings::default() });
    let answer = zone.local("DELETE /meshes/default", None).await;
    assert!(answer.json()["detail"].as_str().unwrap().starts_with("On zone control plane"));
    let insight = Server::new().local("PUT /mesh-insights/default", Some(json!({}))).await;
    assert_eq!(insight.status, 405);
}

#[tokio::test]
async fn a_probed_inbound_starts_not_ready() {
    let server = Server::new();
    server.mesh("default").await;
    let mut body = dataplane("default", "dp");
    body["networking"]["inbound"][0]["serviceProbe"] = json!({ "tcp": {} });
    assert_eq!(server.local("PUT /meshes/default/dataplanes/dp", Some(body)).await.status, 201);
    let stored = server.local("GET /meshes/default/dataplanes/dp", None).await.json();
    assert_eq!(stored["networking"]["inbound"][0]["state"], "NotReady");
}

#[tokio::test]
async fn secrets_of_a_mesh_go_with_it() {
    let server = Server::new();
    server.mesh("m").await;
    let secret = json!({ "type": "Secret", "mesh": "m", "name": "s", "data": "YQ==" });
    assert_eq!(server.local("PUT /meshes/m/secrets/s", Some(secret)).await.status, 201);
    server.local("DELETE /meshes/m", None).await;
    assert!(server.store.snapshot().get(&Key::new(registry::SECRET, "m", "s")).is_none());
}

#[tokio::test]
async fn a_writer_that_names_the_revision_it_read_replaces_nothing_else() {
    let server = Server::new();
    server.mesh("default").await;
    let path = "/meshes/default/meshtimeouts/t";
    let write = async |method: &str, revision: &str| {
        let body = (method == "PUT").then(|| timeout("t", json!({})));
        server.send([127, 0, 0, 1], &format!("{method} {path}"), body, &[("if-match", revision)]).await
    };
    assert_eq!(write("PUT", "7").await.status, 412, "there is nothing to replace");
    let first = server.local(&format!("PUT {path}"), Some(timeout("t", json!({})))).await.revision();
    let second = write("PUT", &format!("\"{first}\"")).await;
    assert_eq!(second.status, 200);
    let late = write("PUT", &first.to_string()).await;
    assert_eq!((late.status, late.json()["title"].clone()), (412, json!("Precondition Failed")));
    assert_eq!(write("DELETE", &first.to_string()).await.status, 412);
    assert_eq!(write("PUT", "yesterday").await.status, 400);
    assert_eq!(write("DELETE", &second.revision().to_string()).await.status, 200);
}
