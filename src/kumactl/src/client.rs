//! The HTTP client towards a control plane.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use identity::client_tls::{Trust, client_config};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use crate::config::ApiServer;
use crate::version::VERSION;

/// How long an upload may take.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// An error that the control plane answered with, in its own words.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct ApiError {
    #[serde(default)]
    pub(crate) status: u16,
    pub(crate) title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    details: String,
    #[serde(default)]
    invalid_parameters: Vec<Parameter>,
    #[serde(default)]
    causes: Vec<Cause>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Parameter {
    #[serde(default)]
    field: String,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Cause {
    #[serde(default)]
    field: String,
    #[serde(default)]
    message: String,
}

impl ApiError {
    /// The explanation; older servers have another field for it.
    pub(crate) fn explanation(&self) -> &str {
        if self.detail.is_empty() { &self.details } else { &self.detail }
    }

    /// What is wrong, by field.
    pub(crate) fn faults(&self) -> Vec<(&str, &str)> {
        if self.invalid_parameters.is_empty() {
            self.causes.iter().map(|c| (c.field.as_str(), c.message.as_str())).collect()
        } else {
            self.invalid_parameters.iter().map(|p| (p.field.as_str(), p.reason.as_str())).collect()
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.title, self.explanation())?;
        for (field, reason) in self.faults() {
            write!(f, "\n* {field}: {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ApiError {}

/// A client of one control plane.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
}

/// An answer with its status.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Client {
    /// A client for an API server; `timeout` zero is none.
    ///
    /// # Errors
    /// What is wrong with the URL, the certificates or the headers.
    pub(crate) fn new(server: &ApiServer, timeout: Duration) -> Result<Self> {
        let base = Url::parse(&server.url).with_context(|| format!("API Server URL is invalid: {}", server.url))?;
        // An error says that the process has chosen its TLS implementation before.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .user_agent(user_agent())
            .default_headers(headers(server)?);
        if !timeout.is_zero() {
            builder = builder.timeout(timeout);
        }
        if let Some(tls) = tls(server)? {
            builder = builder.tls_backend_preconfigured(tls);
        }
        Ok(Self { http: builder.build().context("could not make an HTTP client")?, base })
    }

    /// Where a path of the API is; it starts with a slash and may carry a query.
    pub(crate) fn url(&self, path: &str) -> Result<Url> {
        let base = self.base.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{path}")).with_context(|| format!("{path:?} is not a path"))
    }

    /// Sends a request, with a JSON body if there is one.
    ///
    /// # Errors
    /// When the control plane cannot be reached.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<String>) -> Result<Answer> {
        let mut request = self.http.request(method, self.url(path)?).header("Accept", "application/json");
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body);
        }
        let response = request.send().await.map_err(explain)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.map_err(explain)?;
        Ok(Answer { status, headers, body })
    }

    /// The answer to a path whose body is no JSON, before the body is read.
    ///
    /// # Errors
    /// When the control plane cannot be reached or answers with an error.
    pub(crate) async fn download(&self, path: &str) -> Result<reqwest::Response> {
        let response = self.http.get(self.url(path)?).send().await.map_err(explain)?;
        if response.status().as_u16() < 400 {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.map_err(explain)?;
        Err(Answer { status, headers, body }.error())
    }

    /// The answer to a body that is no JSON. It may take long, however short the timeout is.
    ///
    /// # Errors
    /// When the control plane cannot be reached or answers with an error.
    pub(crate) async fn upload(&self, path: &str, body: Vec<u8>) -> Result<String> {
        let request = self.http.post(self.url(path)?).header("Accept", "application/json").timeout(UPLOAD_TIMEOUT);
        let request = request.header("Content-Type", "application/octet-stream").body(body);
        let response = request.send().await.map_err(explain)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.text().await.map_err(explain)?;
        Answer { status, headers, body }.success()
    }

    /// The body of a path.
    ///
    /// # Errors
    /// When the control plane cannot be reached or answers with an error.
    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        self.send(Method::GET, path, None).await?.success()
    }

    /// The JSON of a path.
    ///
    /// # Errors
    /// As [`Client::get`], and when the body is no JSON.
    pub(crate) async fn get_json(&self, path: &str) -> Result<Value> {
        serde_json::from_str(&self.get(path).await?).with_context(|| format!("the answer to {path} is not JSON"))
    }
}

impl Answer {
    /// The body, or the error that it is.
    ///
    /// # Errors
    /// An [`ApiError`] when the body is one, else status and body.
    pub(crate) fn success(self) -> Result<String> {
        if self.status.as_u16() < 400 {
            return Ok(self.body);
        }
        Err(self.error())
    }

    /// The error of an answer with a status of 400 or more.
    pub(crate) fn error(&self) -> anyhow::Error {
        match serde_json::from_str::<ApiError>(&self.body) {
            Ok(error) if !error.title.is_empty() => error.into(),
            _ => anyhow!("({}): {}", self.status.as_u16(), self.body),
        }
    }
}

/// The innermost cause says what happened; the outer ones only that something did.
fn explain(error: reqwest::Error) -> anyhow::Error {
    let url = error.url().map(ToString::to_string).unwrap_or_default();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    anyhow!("could not reach the control plane at {url}: {cause}")
}

fn user_agent() -> String {
    format!("kumactl/{VERSION} ({}; {}; Kuma/unknown)", std::env::consts::OS, std::env::consts::ARCH)
}

fn headers(server: &ApiServer) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for header in &server.headers {
        let name =
            HeaderName::try_from(&header.key).with_context(|| format!("invalid header name {:?}", header.key))?;
        let value = HeaderValue::try_from(&header.value)
            .with_context(|| format!("invalid value of header {:?}", header.key))?;
        headers.append(name, value);
    }
    match server.auth_type.as_str() {
        "" => {}
        "tokens" => {
            let token = server.auth_conf.get("token").map_or("", String::as_str);
            let value = HeaderValue::try_from(format!("Bearer {token}")).context("the token is not a valid header")?;
            headers.insert("Authorization", value);
        }
        other => bail!("authentication plugin of type {other:?} not found"),
    }
    Ok(headers)
}

fn tls(server: &ApiServer) -> Result<Option<rustls::ClientConfig>> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("could not read {path}"));
    let client = if server.client_cert_file.is_empty() || server.client_key_file.is_empty() {
        None
    } else {
        Some((read(&server.client_cert_file)?, read(&server.client_key_file)?))
    };
    let trust = if server.skip_verify {
        Trust::Nobody
    } else if !server.ca_cert_file.is_empty() {
        Trust::Pem(read(&server.ca_cert_file)?)
    } else if client.is_some() {
        bail!("a client certificate needs a CA certificate (--ca-cert-file) of the control plane");
    } else {
        return Ok(None);
    };
    let client = client.as_ref().map(|(chain, key)| (chain.as_str(), key.as_str()));
    Ok(Some(client_config(&trust, client)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_control_plane_are_shown_with_their_fields() {
        let body = r#"{"status":400,"title":"Could not process a resource","detail":"Resource is not valid",
                       "invalid_parameters":[{"field":"name","reason":"cannot be empty"}]}"#;
        let answer =
            |body: &str| Answer { status: StatusCode::BAD_REQUEST, headers: HeaderMap::new(), body: body.to_owned() };
        assert_eq!(
            answer(body).error().to_string(),
            "Could not process a resource (Resource is not valid)\n* name: cannot be empty"
        );
        assert_eq!(answer("plain").error().to_string(), "(400): plain");
    }

    #[test]
    fn paths_are_joined_to_the_base() {
        let server = ApiServer { url: "http://cp:1/base/".to_owned(), ..ApiServer::default() };
        let client = Client::new(&server, Duration::ZERO).unwrap();
        assert_eq!(client.url("/meshes?size=1").unwrap().as_str(), "http://cp:1/base/meshes?size=1");
    }
}
