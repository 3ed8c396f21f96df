//! The bootstrap call: what kuma-dp tells the control plane, and what it gets for Envoy.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use identity::client_tls::{Trust, client_config};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::settings::Settings;

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

const NOT_FOUND_ADVICE: &str = "Dataplane entity not found. If you are running on Universal please create a Dataplane entity on kuma-cp before \
     starting kuma-dp or pass it to kuma-dp run --dataplane-file=/file. If you are running on Kubernetes, please check \
     the kuma-cp logs to determine why the Dataplane entity could not be created by the automatic sidecar injection.";

const WRONG_PORT_ADVICE: &str = "there is no /bootstrap at this address. Double check --cp-address: it has to be the dataplane server of kuma-cp \
     (port 5678 by default), not its HTTP API (port 5681).";

/// What is sent, in Kuma's field names.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    pub(crate) mesh: String,
    pub(crate) name: String,
    pub(crate) proxy_type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) dataplane_token: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) dataplane_token_path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) dataplane_resource: String,
    pub(crate) version: Value,
    pub(crate) ca_cert: String,
    pub(crate) dynamic_metadata: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) otel_env: Option<Value>,
    pub(crate) dns_port: u32,
    pub(crate) readiness_port: u32,
    /// True when the probe proxy is *enabled*: Kuma kept the name of the inverse.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) app_probe_proxy_disabled: bool,
    pub(crate) operating_system: String,
    pub(crate) features: Vec<&'static str>,
    pub(crate) resources: Value,
    pub(crate) workdir: String,
    pub(crate) metrics_resources: Value,
    pub(crate) system_ca_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dataplane_config: Option<crate::settings::TransparentProxy>,
    pub(crate) ipv6_enabled: bool,
    pub(crate) spire_resources: Value,
}

/// The features that kuma-dp announces, in Kuma's order.
pub(crate) fn features(settings: &Settings) -> Vec<&'static str> {
    let runtime = &settings.dataplane_runtime;
    [
        ("feature-tcp-accesslog-via-named-pipe", true),
        ("feature-otel-via-kuma-dp", runtime.otel_pipe_enabled),
        ("feature-transparent-proxy-in-dataplane-metadata", runtime.transparent_proxy.is_some()),
        ("feature-bind-outbounds", runtime.bind_outbounds),
        ("feature-spire", runtime.spire_supported),
        ("feature-strict-inbound-ports", runtime.strict_inbound_ports_enabled),
        ("feature-reuse-port", runtime.reuse_port_enabled),
    ]
    .into_iter()
    .filter_map(|(feature, announced)| announced.then_some(feature))
    .collect()
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Bootstrap {
    /// Envoy's bootstrap as YAML text.
    pub(crate) yaml: String,
    /// The same, parsed.
    pub(crate) value: Value,
    /// The address of the dataplane.
    pub(crate) dataplane_address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    bootstrap: String,
    #[serde(default)]
    kuma_sidecar_configuration: SidecarConfiguration,
}

#[derive(Default, Deserialize)]
struct SidecarConfiguration {
    #[serde(default)]
    networking: Networking,
}

#[derive(Default, Deserialize)]
struct Networking {
    #[serde(default)]
    address: String,
}

/// Why an attempt failed.
enum Failure {
    /// Try again.
    Passing(anyhow::Error),
    /// It will not get better.
    Final(anyhow::Error),
}

/// Asks until the control plane answers; `request` is made anew for each attempt, because the token
/// file and Envoy may have changed.
///
/// # Errors
/// A final refusal, or the last error when the time is over.
pub(crate) async fn fetch(settings: &Settings, request: impl AsyncFn() -> Result<Request>) -> Result<Bootstrap> {
    let client = client(settings)?;
    let url = endpoint(&settings.control_plane.url)?;
    let deadline = Instant::now() + settings.control_plane.retry_max_duration;
    loop {
        let failure = match attempt(&client, &url, &request().await?).await {
            Ok(bootstrap) => return Ok(bootstrap),
            Err(Failure::Final(error)) => return Err(error.context("Failed to fetch Envoy bootstrap config.")),
            Err(Failure::Passing(error)) => error,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failure.context("Failed to fetch Envoy bootstrap config."));
        }
        let wait = settings.control_plane.retry_backoff.min(left);
        tracing::info!(%url, error = format!("{failure:#}"), retry_in = ?wait, "could not fetch bootstrap configuration");
        tokio::time::sleep(wait).await;
    }
}

fn client(settings: &Settings) -> Result<reqwest::Client> {
    let control_plane = &settings.control_plane;
    let mut builder = crate::http::client_builder().timeout(ATTEMPT_TIMEOUT);
    let trust = if control_plane.tls_skip_verify {
        Some(Trust::Nobody)
    } else if control_plane.ca_cert.is_empty() {
        None
    } else {
        Some(Trust::Pem(control_plane.ca_cert.clone()))
    };
    if let Some(trust) = trust {
        builder = builder.tls_backend_preconfigured(client_config(&trust, None)?);
    }
    if control_plane.url.starts_with("https") {
        builder = builder.no_proxy();
    }
    builder.build().context("could not make an HTTP client")
}

/// The control plane's address with its path replaced.
fn endpoint(address: &str) -> Result<reqwest::Url> {
    let mut url = reqwest::Url::parse(address).with_context(|| format!("invalid control plane address {address:?}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        bail!("unsupported URL scheme {:?}, must be http or https", url.scheme());
    }
    url.set_path("/bootstrap");
    Ok(url)
}

async fn attempt(client: &reqwest::Client, url: &reqwest::Url, request: &Request) -> Result<Bootstrap, Failure> {
    let passing = |e: reqwest::Error| Failure::Passing(anyhow!(e));
    let sent = client.post(url.clone()).header("accept", "application/json").json(request).send().await;
    let response = sent.map_err(passing)?;
    let status = response.status();
    let body = response.bytes().await.map_err(passing)?;
    if status.as_u16() == 200 {
        return decode(&body).map_err(Failure::Passing);
    }
    let text = String::from_utf8_lossy(&body);
    if status.as_u16() == 404 && text.is_empty() {
        return Err(Failure::Passing(anyhow!(NOT_FOUND_ADVICE)));
    }
    if status.as_u16() == 404 && text.trim() == "404: Page Not Found" {
        return Err(Failure::Passing(anyhow!(WRONG_PORT_ADVICE)));
    }
    if status.is_client_error() {
        return Err(Failure::Final(anyhow!("Invalid request: {text}")));
    }
    Err(Failure::Passing(anyhow!("unexpected status code: {}", status.as_u16())))
}

fn decode(body: &[u8]) -> Result<Bootstrap> {
    let response: Response = serde_json::from_slice(body).context("the control plane's answer is not a bootstrap")?;
    let yaml = STANDARD.decode(response.bootstrap).context("the bootstrap is not valid base64")?;
    let yaml = String::from_utf8(yaml).context("the bootstrap is not valid UTF-8")?;
    let value = serde_saphyr::from_str(&yaml).context("the bootstrap is not valid YAML")?;
    let dataplane_address = response.kuma_sidecar_configuration.networking.address;
    Ok(Bootstrap { yaml, value, dataplane_address })
}

/// The constant parts of a request that come straight from the settings.
pub(crate) fn resources(settings: &Settings) -> (Value, Value, Value) {
    let runtime = &settings.dataplane_runtime;
    let heap = match runtime.max_memory_bytes {
        0 => crate::machine::memory_limit_bytes(),
        configured => configured,
    };
    (
        json!({"maxHeapSizeBytes": heap}),
        json!({"certPath": runtime.metrics_cert_path, "keyPath": runtime.metrics_key_path}),
        json!({"socketPath": runtime.spire_socket_path}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_stand_in_kumas_order() {
        let mut settings = Settings::default();
        settings.dataplane_runtime.bind_outbounds = true;
        settings.dataplane_runtime.reuse_port_enabled = false;
        assert_eq!(
            features(&settings),
            [
                "feature-tcp-accesslog-via-named-pipe",
                "feature-otel-via-kuma-dp",
                "feature-bind-outbounds",
                "feature-strict-inbound-ports"
            ]
        );
    }

    #[test]
    fn the_path_of_the_address_is_replaced() {
        assert_eq!(endpoint("https://cp:5678/some/path").unwrap().as_str(), "https://cp:5678/bootstrap");
        let error = endpoint("ftp://cp").unwrap_err().to_string();
        assert_eq!(error, "unsupported URL scheme \"ftp\", must be http or https");
    }
}
