//! The application probe proxy: who checks a workload from outside of the mesh asks here, and the workload
//! is asked from a source that is not redirected.
//!
//! `/<port>/<path>` is asked by HTTP, `/tcp/<port>` by a connection, `/grpc/<port>` by gRPC's health check.
//! Beside Kuma, the host that a probe names is really sent, and redirects are not followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::client_tls::{Trust, client_config};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use crate::machine::is_ipv6;
use crate::version::VERSION;

/// What the names of headers begin with that are for this proxy.
const PREFIX: &str = "x-kuma-probes-";
/// How much of an answer is read, in bytes.
const BODY_LEN_MAX: usize = 10 * 1024;
/// How long a probe may take that does not say.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The status of a service that works, in gRPC's health check.
const SERVING: i32 = 1;

type Answer = (StatusCode, &'static str);
const HEALTHY: Answer = (StatusCode::OK, "HEALTHY\n");
const UNHEALTHY: &str = "UNHEALTHY\n";
const UNKNOWN: Answer = (StatusCode::SERVICE_UNAVAILABLE, "UNKNOWN\n");

/// Where workloads are asked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Address of the workload.
    pub(crate) address: IpAddr,
    /// The source of what is asked.
    pub(crate) source: IpAddr,
}

impl Target {
    /// The workload of a dataplane, asked from the source that is not redirected.
    ///
    /// # Errors
    /// When the address is none.
    pub(crate) fn of(dataplane_address: &str) -> Result<Self> {
        let address = dataplane_address.parse().context("the address of the dataplane")?;
        let source = if is_ipv6(dataplane_address) {
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6).into()
        } else {
            Ipv4Addr::new(127, 0, 0, 6).into()
        };
        Ok(Self { address, source })
    }

    async fn connect(&self, port: u16) -> std::io::Result<TcpStream> {
        let socket = if self.address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
        socket.bind(SocketAddr::new(self.source, 0))?;
        socket.connect(SocketAddr::new(self.address, port)).await
    }
}

/// Serves probes until `stop`.
///
/// # Errors
/// When the server ends.
pub(crate) async fn serve(listener: TcpListener, target: Target, stop: CancellationToken) -> Result<()> {
    let app = Router::new().fallback(answer).with_state(Arc::new(target));
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await.context("application probe proxy")
}

async fn answer(State(target): State<Arc<Target>>, request: Request) -> Answer {
    let (asked, _) = request.into_parts();
    let seconds = probe_header(&asked.headers, "timeout").and_then(|text| text.parse().ok());
    let timeout = seconds.map_or(TIMEOUT, Duration::from_secs);
    let probe = async {
        let path = asked.uri.path().trim_start_matches('/').to_owned();
        let (first, rest) = path.split_once('/').unwrap_or((&path, ""));
        match (first, first.parse(), rest.parse()) {
            ("tcp", _, Ok(port)) => Some(verdict(target.connect(port).await.is_ok())),
            ("grpc", _, Ok(port)) => Some(verdict(serves(&target, port, &asked.headers).await.unwrap_or(false))),
            (_, Ok(port), _) => Some(get(&target, port, rest, &asked).await),
            _ => None,
        }
    };
    match tokio::time::timeout(timeout, probe).await {
        Ok(Some(answer)) => answer,
        Ok(None) => UNKNOWN,
        Err(_) => verdict(false),
    }
}

fn verdict(is_healthy: bool) -> Answer {
    if is_healthy { HEALTHY } else { (StatusCode::SERVICE_UNAVAILABLE, UNHEALTHY) }
}

/// The value of a header that is for this proxy.
fn probe_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(format!("{PREFIX}{name}"))?.to_str().ok()
}

async fn get(target: &Target, port: u16, path: &str, probe: &Parts) -> Answer {
    match status(target, port, path, probe).await {
        Ok(status) if (200..400).contains(&status.as_u16()) => HEALTHY,
        Ok(status) => (status, UNHEALTHY),
        Err(error) => {
            tracing::debug!(port, error = format!("{error:#}"), "the workload does not answer");
            verdict(false)
        }
    }
}

/// Asks the workload by HTTP.
async fn status(target: &Target, port: u16, path: &str, probe: &Parts) -> Result<StatusCode> {
    let query = probe.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut asked = http::Request::get(format!("/{path}{query}")).body(Full::<Bytes>::default())?;
    let own = |name: &&HeaderName| !name.as_str().starts_with(PREFIX) && **name != header::HOST;
    for name in probe.headers.keys().filter(own) {
        for value in probe.headers.get_all(name) {
            asked.headers_mut().append(name.clone(), value.clone());
        }
    }
    let default_agent = HeaderValue::from_str(&format!("kuma-probe/{VERSION}"))?;
    asked.headers_mut().entry(header::USER_AGENT).or_insert(default_agent);
    asked.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let host = SocketAddr::new(target.address, port).to_string();
    let host = probe_header(&probe.headers, "host").unwrap_or(&host);
    asked.headers_mut().insert(header::HOST, HeaderValue::from_str(host)?);
    let stream = target.connect(port).await?;
    if probe_header(&probe.headers, "scheme") != Some("HTTPS") {
        return send(stream, asked).await;
    }
    // Whoever probes wants to know whether the workload answers, not who it is.
    let connector = TlsConnector::from(Arc::new(client_config(&Trust::Nobody, None)?));
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']).to_owned();
    send(connector.connect(name.try_into()?, stream).await?, asked).await
}

async fn send<S>(stream: S, request: http::Request<Full<Bytes>>) -> Result<StatusCode>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    // A longer answer is as good: what counts is the status.
    drop(Limited::new(answer.into_body(), BODY_LEN_MAX).collect().await);
    Ok(status)
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Asks the workload by gRPC's health check.
async fn serves(target: &Target, port: u16, headers: &HeaderMap) -> Result<bool> {
    let stream = target.connect(port).await?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let service = probe_header(headers, "grpc-service").unwrap_or_default().to_owned();
    let message = crate::otel::frame(&HealthCheckRequest { service }.encode_to_vec());
    let authority = SocketAddr::new(target.address, port);
    let mut request =
        http::Request::post(format!("http://{authority}/grpc.health.v1.Health/Check")).body(Full::new(message))?;
    let agent = HeaderValue::from_str(&format!("kube-probe/{VERSION}"))?;
    for (name, value) in [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/grpc")),
        (header::TE, HeaderValue::from_static("trailers")),
        (header::USER_AGENT, agent),
    ] {
        request.headers_mut().insert(name, value);
    }
    let answer = sender.send_request(request).await?;
    let body = answer.into_body().collect().await?.to_bytes();
    let message = crate::otel::unframe(&body)?;
    Ok(HealthCheckResponse::decode(message)?.status == SERVING)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    /// A proxy in front of a workload that answers some paths; both on loopback.
    async fn proxy() -> (String, u16) {
        let workload = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = workload.local_addr().unwrap().port();
        let app = Router::new()
            .route(
                "/ok",
                get(async |headers: HeaderMap| {
                    let seen = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
                    assert_eq!(seen("host").as_deref(), Some("app.example"));
                    assert_eq!((seen("x-mine").as_deref(), seen("x-kuma-probes-host")), (Some("1"), None));
                    StatusCode::NO_CONTENT
                }),
            )
            .route("/bad", get(async || StatusCode::IM_A_TEAPOT));
        tokio::spawn(async move { axum::serve(workload, app).await });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, Target::of("127.0.0.1").unwrap(), CancellationToken::new()));
        (base, port)
    }

    async fn ask(url: String) -> (u16, String) {
        let http = crate::http::client_builder().no_proxy().build().unwrap();
        let request = http.get(url).header("x-kuma-probes-host", "app.example").header("x-mine", "1");
        let answer = request.header("x-kuma-probes-timeout", "20").send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn workloads_are_asked_as_the_path_says() {
        let (base, port) = proxy().await;
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        for (path, status, body) in [
            (format!("/{port}/ok?x=1"), 200, "HEALTHY\n"),
            (format!("/{port}/bad"), 418, UNHEALTHY),
            (format!("/{closed}/ok"), 503, UNHEALTHY),
            (format!("/tcp/{port}"), 200, "HEALTHY\n"),
            (format!("/tcp/{closed}"), 503, UNHEALTHY),
            (format!("/grpc/{port}"), 503, UNHEALTHY),
            ("/nothing".to_owned(), 503, "UNKNOWN\n"),
            ("/99999999/ok".to_owned(), 503, "UNKNOWN\n"),
        ] {
            assert_eq!(ask(format!("{base}{path}")).await, (status, body.to_owned()), "{path}");
        }
    }
}
