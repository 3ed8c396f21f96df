//! The server of proxies: one TLS port for `POST /bootstrap` and gRPC.

mod bootstrap;
mod server_name;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

pub(crate) use bootstrap::BootstrapService;
pub(crate) use server_name::ServerNames;

/// Its routes: the bootstrap beside the gRPC services.
pub(crate) fn router(bootstrap: Arc<BootstrapService>, grpc: Router) -> Router {
    Router::new().route("/bootstrap", any(bootstrap::answer)).with_state(bootstrap).merge(grpc).fallback(not_found)
}

/// gRPC calls learn that there is no such method, everything else that there is no such page.
async fn not_found(headers: HeaderMap) -> Response {
    let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    if headers.get(header::CONTENT_TYPE).is_some_and(is_grpc) {
        return tonic::Status::unimplemented("").into_http::<axum::body::Body>().into_response();
    }
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}
