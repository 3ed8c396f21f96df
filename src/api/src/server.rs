//! The path of every request: who asks, which route, which body, which answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::response::Response;
use futures::FutureExt;
use http::{HeaderMap, Method, header};
use http_body_util::{BodyExt, Limited};
use identity::User;

use crate::auth;
use crate::call::{Call, Connection, Query};
use crate::cors::Cors;
use crate::errors::{Problem, Refusal};
use crate::replicas;
use crate::routes::{Found, Routes};
use crate::settings::ApiState;

/// Largest body of a request, in bytes. Kuma's clients never send more.
const BODY_BYTES_MAX: usize = 16 << 20;

/// What every request needs.
struct Service {
    api: Arc<ApiState>,
    routes: Routes,
    cors: Cors,
    /// Base path with a leading and without a trailing slash; empty for `/`.
    base_path: String,
}

/// The whole REST API. Listeners put a [`Connection`] into the extensions of each request.
pub fn router(state: ApiState) -> Router {
    let base_path = match state.settings.base_path.trim_matches('/') {
        "" => String::new(),
        path => format!("/{path}"),
    };
    let service = Service {
        routes: crate::endpoints::table(&state.settings),
        cors: Cors::new(&state.settings.cors_allowed_domains),
        base_path,
        api: Arc::new(state),
    };
    Router::new().fallback(serve).with_state(Arc::new(service))
}

async fn serve(State(service): State<Arc<Service>>, request: Request) -> Response {
    let started = Instant::now();
    let method = method_label(request.method());
    let _inflight = Inflight::begin();
    let (template, response) = service.answer(request).await;
    let labels = [
        ("service", String::new()),
        ("handler", template.to_string()),
        ("method", method.to_owned()),
        ("code", response.status().as_u16().to_string()),
    ];
    metrics::histogram!("api_server_http_request_duration_seconds", &labels).record(started.elapsed().as_secs_f64());
    if let Some(bytes) = response.body().size_hint().exact() {
        metrics::histogram!("api_server_http_response_size_bytes", &labels).record(bytes as f64);
    }
    response
}

/// The whole body, unless it is too long or does not come in time.
async fn read(body: Body, bytes_max: usize, patience: Option<Duration>) -> Result<Bytes, Refusal> {
    let read = Limited::new(body, bytes_max).collect();
    let read = match patience {
        Some(patience) => tokio::time::timeout(patience, read).await.map_err(|_| Refusal::TooSlow)?,
        None => read.await,
    };
    Ok(read.map_err(|_| Refusal::TooLarge)?.to_bytes())
}

/// A method as a label: clients may send any word, and labels must not grow with them.
fn method_label(method: &Method) -> &'static str {
    let known = [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::HEAD, Method::OPTIONS, Method::PATCH];
    let names = ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    known.iter().zip(names).find(|(known, _)| *known == method).map_or("other", |(_, name)| name)
}

/// A request that is being answered, or that its client gave up.
struct Inflight(metrics::Gauge);

impl Inflight {
    fn begin() -> Self {
        let gauge = metrics::gauge!("api_server_http_requests_inflight", "service" => "", "handler" => "");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Inflight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Service {
    /// The answer, and the template of the route for the metrics (empty when none matched).
    async fn answer(&self, request: Request) -> (Arc<str>, Response) {
        if let Some(page) = crate::gui::page(&self.api.settings, request.uri().path()) {
            return ("".into(), page);
        }
        let origin = request.headers().get(header::ORIGIN).cloned();
        if let Some(preflight) = self.preflight(&request) {
            return ("".into(), preflight);
        }
        let (template, mut response) = match self.route(request).await {
            Ok((template, Ok(response))) => (template, response),
            Ok((template, Err(problem))) => (template, problem.into()),
            Err(refused) => ("".into(), refused),
        };
        self.cors.mark(origin.as_ref(), response.headers_mut());
        (template, response)
    }

    /// Finds and runs the handler; `Err` is an answer that no handler gave.
    async fn route(&self, request: Request) -> Result<(Arc<str>, Result<Response, Problem>), Response> {
        let (parts, body) = request.into_parts();
        let path = self.below_base(parts.uri.path());
        let connection = parts.extensions.get::<Connection>();
        let is_index = path.is_some_and(|path| path.trim_matches('/').is_empty());
        let user =
            if is_index { User::anonymous() } else { auth::user(&self.api, connection, &parts.uri, &parts.headers)? };
        let Found { template, params, handler } = self.routes.find(&parts.method, path.ok_or(Refusal::NotFound)?)?;
        let is_restore = template.as_ref() == replicas::RESTORE;
        negotiate(&parts.method, &parts.headers, is_restore)?;
        let limit = replicas::body_bytes_max(&self.api, &user, &template, BODY_BYTES_MAX)?;
        // A backup takes its time.
        let patience = self.api.settings.read_timeout.filter(|_| !is_restore);
        let body = read(body, limit, patience).await?;
        let scheme = if connection.is_some_and(|c| c.tls) { "https" } else { "http" };
        let host = auth::host(&parts.uri, &parts.headers).unwrap_or_default();
        let call = Call {
            api: Arc::clone(&self.api),
            user,
            template: Arc::clone(&template),
            params,
            path: parts.uri.path().to_owned(),
            query: Query::parse(parts.uri.query()),
            origin: format!("{scheme}://{host}"),
            body,
            if_match: parts.headers.get(header::IF_MATCH).cloned(),
        };
        let answer = AssertUnwindSafe(handler(call)).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_| Err(Problem::internal("Could not answer", "the handler panicked")));
        Ok((template, answer))
    }

    /// The path below the base path. `/tokens/user` is served at the root too, where Kuma has it.
    fn below_base<'a>(&self, path: &'a str) -> Option<&'a str> {
        if path.trim_end_matches('/') == "/tokens/user" {
            return Some(path);
        }
        let rest = path.strip_prefix(&*self.base_path)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    fn preflight(&self, request: &Request) -> Option<Response> {
        if request.method() != Method::OPTIONS {
            return None;
        }
        let methods = self.routes.methods(self.below_base(request.uri().path())?);
        self.cors.preflight(request.headers(), &methods)
    }
}

/// Whether the client takes JSON, and sends it, or bytes when the route takes those.
fn negotiate(method: &Method, headers: &HeaderMap, takes_bytes: bool) -> Result<(), Refusal> {
    let sends = matches!(*method, Method::PUT | Method::POST | Method::PATCH);
    if sends {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let expected = if takes_bytes { "application/octet-stream" } else { "application/json" };
        if !essence.eq_ignore_ascii_case(expected) {
            return Err(Refusal::UnsupportedMediaType);
        }
    }
    let mut accepts = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).peekable();
    let fits = |media: &str| matches!(media.split(';').next().unwrap_or_default().trim(), "application/json" | "*/*");
    if accepts.peek().is_some() && !accepts.any(|value| value.split(',').any(fits)) {
        let unsized_body = sends && !headers.contains_key(header::CONTENT_LENGTH);
        return Err(if unsized_body { Refusal::UnsupportedMediaType } else { Refusal::NotAcceptable });
    }
    Ok(())
}

/// An answer of plain text.
pub(crate) fn text(text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    response
}
