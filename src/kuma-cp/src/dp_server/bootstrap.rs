//! `POST /bootstrap`: what `kuma-dp` needs to start Envoy.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::document::Submission;
use model::kinds::dataplane::Dataplane;
use model::labels::WORKLOAD;
use model::registry::{DATAPLANE, MESH};
use model::{Document, Key, Resource, Violations};
use serde_json::json;
use store::{State as Snapshot, Store};
use xds::bootstrap::{BootstrapParams, BootstrapRequest, Proxy, generate};

use super::server_name::{ServerNames, is_no_authority};
use crate::certificates::ServedCertificate;

/// How long the name of the control plane may take to resolve.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// What answers bootstrap requests.
pub(crate) struct BootstrapService {
    /// Where Dataplanes are.
    pub(crate) store: Arc<dyn Store>,
    /// What the server of proxies serves with.
    pub(crate) certificate: Arc<ServedCertificate>,
    /// Parameters of the configuration. The host, the CA and the address family of each answer are
    /// filled in; an empty host means that of the request.
    pub(crate) params: BootstrapParams,
    /// Whether proxies must have a token.
    pub(crate) token_required: bool,
}

/// A refusal.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the request is no JSON document of its kind: {0}")]
    Malformed(serde_json::Error),
    #[error(
        "Dataplane Token is required. Generate token using 'kumactl generate dataplane-token > /path/file' and \
         provide it via --dataplane-token-file=/path/file argument to Kuma DP"
    )]
    NoToken,
    #[error("{0}")]
    WrongHost(String),
    #[error("unknown proxy type {0:?}")]
    ProxyType(String),
    #[error("the Dataplane cannot be read: {0}")]
    UnreadableDataplane(String),
    #[error("{0}")]
    Invalid(Violations),
    #[error("there is no such Dataplane or mesh")]
    NotFound,
    #[error(
        "A data plane proxy is trying to verify the control plane using the certificate which is not a certificate \
         authority (basic constraint 'CA' is set to 'false').\nProvide CA that was used to sign a certificate used in \
         the control plane by using 'kuma-dp run --ca-cert-file=file' or via KUMA_CONTROL_PLANE_CA_CERT_FILE"
    )]
    NoAuthority,
}

impl IntoResponse for Refusal {
    /// `kuma-dp` tells a missing Dataplane from a wrong port by the emptiness of the body.
    fn into_response(self) -> Response {
        let text = self.to_string();
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST.into_response(),
            Self::NoToken | Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, text).into_response(),
            Self::WrongHost(_) | Self::NoAuthority => (StatusCode::BAD_REQUEST, text).into_response(),
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::ProxyType(_) | Self::UnreadableDataplane(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Answers one request.
pub(super) async fn answer(
    State(service): State<Arc<BootstrapService>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = uri.authority().map_or_else(|| text(header::HOST).to_owned(), ToString::to_string);
    match service.bootstrap(host_without_port(&host), &body).await {
        Ok(made) if text(header::ACCEPT) == "application/json" => axum::Json(json!({
            "bootstrap": STANDARD.encode(&made.yaml),
            "kumaSidecarConfiguration": {"networking": {"address": made.address}, "metrics": {"aggregate": null}},
        }))
        .into_response(),
        Ok(made) => ([(header::CONTENT_TYPE, "text/x-yaml")], made.yaml).into_response(),
        Err(refusal) => {
            tracing::info!(%refusal, "bootstrap was refused");
            refusal.into_response()
        }
    }
}

/// A finished bootstrap.
struct Made {
    yaml: String,
    /// Address of the Dataplane.
    address: String,
}

/// The Dataplane that a bootstrap is for.
struct Subject {
    dataplane: Dataplane,
    workload: Option<String>,
    /// Its text, when the proxy brought it along.
    text: Option<String>,
}

impl BootstrapService {
    async fn bootstrap(&self, host: &str, body: &[u8]) -> Result<Made, Refusal> {
        let request: BootstrapRequest = serde_json::from_slice(body).map_err(Refusal::Malformed)?;
        let has_token = !request.dataplane_token.is_empty() || !request.dataplane_token_path.is_empty();
        if self.token_required && !has_token {
            return Err(Refusal::NoToken);
        }
        let xds_host = if self.params.xds_host.is_empty() {
            self.check_host(host)?;
            host
        } else {
            &self.params.xds_host
        };
        if !["", "dataplane"].contains(&request.proxy_type.as_str()) {
            return Err(Refusal::ProxyType(request.proxy_type));
        }
        let state = self.store.snapshot();
        let subject = if request.dataplane_resource.is_empty() {
            stored(&state, &request)?
        } else {
            brought_along(&state, &request)?
        };
        if state.get(&Key::global(MESH, &request.mesh)).is_none() {
            return Err(Refusal::NotFound);
        }
        let ca_pem = if request.ca_cert.is_empty() { self.certificate.pem() } else { request.ca_cert.clone() };
        if is_no_authority(&ca_pem) == Some(true) {
            return Err(Refusal::NoAuthority);
        }
        let params = BootstrapParams {
            xds_host: xds_host.to_owned(),
            xds_host_is_ipv4_only: is_ipv4_only(xds_host).await,
            ca_pem,
            ..self.params.clone()
        };
        let proxy = Proxy {
            dataplane: &subject.dataplane,
            workload: subject.workload.as_deref(),
            resource: subject.text.as_deref(),
        };
        let yaml = model::yaml::to_string(&generate(&request, &proxy, &params));
        Ok(Made { yaml, address: subject.dataplane.address().to_owned() })
    }

    fn check_host(&self, host: &str) -> Result<(), Refusal> {
        let names = ServerNames::of_pem(&self.certificate.pem());
        if names.hold_for(host) {
            return Ok(());
        }
        Err(Refusal::WrongHost(format!(
            "A data plane proxy is trying to connect to the control plane using \"{host}\" address, but the \
             certificate in the control plane has the following SANs {}. Either change the --cp-address in kuma-dp \
             to one of those or execute the following steps:\n1) Generate a new certificate with the address you \
             are trying to use. It is recommended to use trusted Certificate Authority, but you can also generate \
             self-signed certificates using 'kumactl generate tls-certificate --type=server --hostname={host}'\n\
             2) Set KUMA_GENERAL_TLS_CERT_FILE and KUMA_GENERAL_TLS_KEY_FILE or the equivalent in Kuma CP config \
             file to the new certificate.\n3) Restart the control plane to read the new certificate and start \
             kuma-dp.",
            names.listed()
        )))
    }
}

fn stored(state: &Snapshot, request: &BootstrapRequest) -> Result<Subject, Refusal> {
    let resource = state.get(&Key::new(DATAPLANE, &request.mesh, &request.name)).ok_or(Refusal::NotFound)?;
    Ok(Subject {
        dataplane: dataplane_of(resource)?,
        workload: resource.label(WORKLOAD).map(str::to_owned),
        text: None,
    })
}

fn dataplane_of(resource: &Resource) -> Result<Dataplane, Refusal> {
    let typed = resource.spec::<Dataplane>().cloned();
    typed.ok_or_else(|| Refusal::UnreadableDataplane("the stored spec is of another type".to_owned()))
}

fn brought_along(state: &Snapshot, request: &BootstrapRequest) -> Result<Subject, Refusal> {
    let unreadable = |e: &dyn std::fmt::Display| Refusal::UnreadableDataplane(e.to_string());
    let document = model::yaml::read(&request.dataplane_resource).map_err(|e| unreadable(&e))?;
    if document.get("type").and_then(|kind| kind.as_str()) != Some(DATAPLANE.name) {
        return Err(unreadable(&"it is not of type Dataplane"));
    }
    let text = document.to_string();
    let submission = Submission::read(DATAPLANE, document).map_err(|e| match e {
        model::DecodeError::Invalid(violations) => Refusal::Invalid(violations),
        model::DecodeError::Malformed(cause) => unreadable(&cause),
    })?;
    let mesh = if submission.mesh.is_empty() { request.mesh.clone() } else { submission.mesh.clone() };
    let seen = Document { mesh: &mesh, name: &request.name, labels: &submission.labels, spec: &submission.spec };
    let mut violations = (DATAPLANE.codec.validate)(&seen);
    let dataplane = submission.spec.get::<Dataplane>().cloned().ok_or_else(|| unreadable(&"its spec"))?;
    let redirected = request.dataplane_config.as_ref().is_some_and(|config| config.enabled(dataplane.address()));
    if redirected && !dataplane.outbounds().is_empty() {
        violations.add("outbound", "should be empty since dataplane is in Transparent Proxying mode");
    }
    if state.get(&Key::global(MESH, &mesh)).is_none() {
        violations.add("mesh", format!("mesh \"{mesh}\" does not exist"));
    }
    violations.into_result().map_err(Refusal::Invalid)?;
    Ok(Subject { dataplane, workload: submission.labels.get(WORKLOAD).cloned(), text: Some(text) })
}

/// The host of `host[:port]`.
fn host_without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(host, |(literal, _)| literal);
    }
    match host.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') => name,
        _ => host,
    }
}

/// Whether the name is known to have no IPv6 address. Envoy would wait for the answer in vain.
async fn is_ipv4_only(host: &str) -> bool {
    if host == "localhost" || host.parse::<IpAddr>().is_ok() {
        return false;
    }
    match tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, 0))).await {
        Ok(Ok(addresses)) => {
            let mut addresses = addresses.peekable();
            addresses.peek().is_some() && addresses.all(|address| address.is_ipv4())
        }
        Ok(Err(_)) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests;
