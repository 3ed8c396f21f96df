//! The API over a store in memory, asked without a network.

use std::sync::Arc;

use api::{ApiState, Connection, Settings};
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use store::{MemoryStore, Store};
use tower::ServiceExt;

/// A control plane's API.
pub(crate) struct Server {
    pub(crate) store: Arc<MemoryStore>,
    router: Router,
}

/// What a request came to.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn revision(&self) -> u64 {
        self.headers["kuma-revision"].to_str().unwrap().parse().unwrap()
    }

    /// Field and reason of all faults.
    pub(crate) fn faults(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let body = self.json();
        let faults = body["invalid_parameters"].as_array().cloned().unwrap_or_default();
        faults.iter().map(|fault| (text(&fault["field"]), text(&fault["reason"]))).collect()
    }
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let store = Arc::new(MemoryStore::new());
        let router = api::router(ApiState::new(Arc::clone(&store) as Arc<dyn Store>, settings));
        Self { store, router }
    }

    /// The API of a replica of this group.
    pub(crate) fn of_group(group: Arc<dyn api::group::Group>) -> Self {
        let store = Arc::new(MemoryStore::new());
        let mut state = ApiState::new(Arc::clone(&store) as Arc<dyn Store>, Settings::default());
        state.group = Some(group);
        Self { store, router: api::router(state) }
    }

    /// A request from this machine, `METHOD /path`.
    pub(crate) async fn local(&self, request: &str, body: Option<Value>) -> Answer {
        self.send([127, 0, 0, 1], request, body, &[]).await
    }

    /// The same from elsewhere.
    pub(crate) async fn remote(&self, request: &str, body: Option<Value>, headers: &[(&str, &str)]) -> Answer {
        self.send([10, 1, 2, 3], request, body, headers).await
    }

    pub(crate) async fn send(
        &self,
        peer: [u8; 4],
        request: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let (method, uri) = request.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(uri).header("host", "localhost:5681");
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request
                .headers_mut()
                .unwrap()
                .insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut request = request.body(body).unwrap();
        request.extensions_mut().insert(Connection { peer: (peer, 40000).into(), tls: false });
        self.raw(request).await
    }

    pub(crate) async fn raw(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// Creates a mesh without default policies.
    pub(crate) async fn mesh(&self, name: &str) {
        let mesh = json!({ "type": "Mesh", "name": name, "skipCreatingInitialPolicies": ["*"] });
        assert_eq!(self.local(&format!("PUT /meshes/{name}"), Some(mesh)).await.status, 201);
    }

    /// Creates a dataplane of a mesh.
    pub(crate) async fn dataplane(&self, mesh: &str, name: &str) {
        let answer = self.local(&format!("PUT /meshes/{mesh}/dataplanes/{name}"), Some(dataplane(mesh, name))).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
}

pub(crate) fn dataplane(mesh: &str, name: &str) -> Value {
    json!({
        "type": "Dataplane",
        "mesh": mesh,
        "name": name,
        "networking": { "address": "10.0.0.1", "inbound": [{ "port": 80, "name": "main" }] },
    })
}
