//! The readiness reporter: one path over HTTP that says whether this proxy can take traffic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::any;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::envoy::admin::{AdminAddress, AdminClient};
use crate::machine::is_ipv6;

/// How long a missing DNS configuration holds readiness back.
const DNS_GATE_MAX: Duration = Duration::from_secs(15);

/// How long Envoy may take to answer.
const ENVOY_TIMEOUT: Duration = Duration::from_secs(3);

/// What readiness depends on; shared with the parts that change it.
#[derive(Debug)]
pub(crate) struct Readiness {
    started: Instant,
    terminating: AtomicBool,
    /// True until the first DNS configuration arrived, when there is a DNS server.
    waits_for_dns: AtomicBool,
    /// Set when Envoy's admin interface is on a Unix socket and can be asked.
    envoy: Option<AdminClient>,
}

impl Readiness {
    /// Nothing is terminating, DNS is awaited if it is enabled.
    ///
    /// # Errors
    /// When no client for Envoy can be made.
    pub(crate) fn new(dns_enabled: bool, admin: Option<&AdminAddress>) -> Result<Self> {
        let envoy = match admin {
            Some(socket @ AdminAddress::Socket(_)) => Some(AdminClient::new(socket, ENVOY_TIMEOUT)?),
            Some(AdminAddress::Tcp { .. }) | None => None,
        };
        Ok(Self {
            started: Instant::now(),
            terminating: AtomicBool::new(false),
            waits_for_dns: AtomicBool::new(dns_enabled),
            envoy,
        })
    }

    /// From now on the proxy is not ready any more.
    pub(crate) fn terminate(&self) {
        self.terminating.store(true, Ordering::Release);
    }

    /// The DNS server has its configuration.
    pub(crate) fn dns_configured(&self) {
        self.waits_for_dns.store(false, Ordering::Release);
    }

    async fn answer(&self) -> Response<Body> {
        if self.terminating.load(Ordering::Acquire) {
            return own(StatusCode::SERVICE_UNAVAILABLE, "TERMINATING");
        }
        if self.waits_for_dns.load(Ordering::Acquire) {
            if self.started.elapsed() < DNS_GATE_MAX {
                return own(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY");
            }
            tracing::warn!(waited = ?DNS_GATE_MAX, "no DNS configuration has arrived, going on without it");
            self.dns_configured();
        }
        let Some(envoy) = &self.envoy else {
            return own(StatusCode::OK, "READY");
        };
        match Self::ask(envoy).await {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "Envoy does not answer");
                own(StatusCode::SERVICE_UNAVAILABLE, "envoy not ready")
            }
        }
    }

    /// Envoy's own answer, passed on.
    async fn ask(envoy: &AdminClient) -> Result<Response<Body>> {
        let answer = envoy.get("/ready").await?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if name != "transfer-encoding" && name != "connection" {
                response = response.header(name, value);
            }
        }
        Ok(response.body(Body::from(answer.bytes().await?))?)
    }
}

fn own(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    for (name, value) in
        [("content-type", "text/plain"), ("cache-control", "no-cache, max-age=0"), ("x-powered-by", "kuma-dp")]
    {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Where the reporter listens: beside a TCP admin interface, on all addresses in Kubernetes, else on
/// loopback; the family is that of the dataplane's address.
pub(crate) fn bind_address(
    admin: Option<&AdminAddress>,
    in_kubernetes: bool,
    dataplane_address: &str,
    port: u16,
) -> SocketAddr {
    let v6 = is_ipv6(dataplane_address);
    let ip = match (admin, in_kubernetes, v6) {
        (Some(AdminAddress::Tcp { address, .. }), _, _) => address.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (_, true, true) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        (_, true, false) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        (_, false, true) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        (_, false, false) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    SocketAddr::new(ip, port)
}

/// Serves `/ready` until `stop`.
///
/// # Errors
/// When the port cannot be bound.
pub(crate) async fn serve(readiness: Arc<Readiness>, address: SocketAddr, stop: CancellationToken) -> Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| {
        format!("could not listen on {address} for readiness (KUMA_READINESS_PORT); is the port taken?")
    })?;
    let app = Router::new()
        .route("/ready", any(|State(readiness): State<Arc<Readiness>>| async move { readiness.answer().await }))
        .with_state(readiness);
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await.context("readiness reporter")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(readiness: &Readiness) -> (u16, String) {
        let response = readiness.answer().await;
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn dns_holds_readiness_back_for_a_while_only() {
        let readiness = Readiness::new(true, None).unwrap();
        assert_eq!(text(&readiness).await, (503, "NOT_READY".to_owned()));
        tokio::time::advance(DNS_GATE_MAX).await;
        assert_eq!(text(&readiness).await, (200, "READY".to_owned()));
        readiness.terminate();
        assert_eq!(text(&readiness).await, (503, "TERMINATING".to_owned()));
    }

    #[tokio::test]
    async fn a_dns_configuration_opens_the_gate() {
        let readiness = Readiness::new(true, None).unwrap();
        readiness.dns_configured();
        assert_eq!(text(&readiness).await, (200, "READY".to_owned()));
    }

    #[tokio::test]
    async fn an_envoy_that_does_not_answer_is_not_ready() {
        let socket = AdminAddress::Socket("/nowhere/admin.sock".to_owned());
        let readiness = Readiness::new(false, Some(&socket)).unwrap();
        assert_eq!(text(&readiness).await, (503, "envoy not ready".to_owned()));
    }

    #[test]
    fn the_address_follows_admin_kubernetes_and_family() {
        let tcp = AdminAddress::Tcp { address: "127.0.0.2".to_owned(), port: 1 };
        assert_eq!(bind_address(Some(&tcp), true, "10.0.0.1", 9902).to_string(), "127.0.0.2:9902");
        assert_eq!(bind_address(None, true, "10.0.0.1", 9902).to_string(), "0.0.0.0:9902");
        assert_eq!(bind_address(None, false, "fd00::1", 9902).to_string(), "[::1]:9902");
        assert_eq!(bind_address(None, false, "web.local", 9902).to_string(), "127.0.0.1:9902");
    }
}
