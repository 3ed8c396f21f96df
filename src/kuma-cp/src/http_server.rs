//! A bound HTTP server: HTTP/1.1, and HTTP/2 where proxies connect, plain or with TLS, drained
//! gracefully at the end.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::connections::{self, Connections};
use crate::readiness::Part;
use crate::settings::Listener;
use crate::timed_stream::{Busy, Patience, TimedStream};

/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the server pauses when it can accept no connection (no file descriptor left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often a silent HTTP/2 connection is asked whether it lives. Each answer costs as much as a small
/// change; that the other machine is there is what the kernel asks, which costs nothing.
const PING: Duration = Duration::from_secs(300);
/// How long the answer may take.
const PONG_TIMEOUT: Duration = Duration::from_secs(15);
/// After how long the kernel asks the machine at the other end of a silent connection whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long it waits between questions; after nine without an answer the connection is dead.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);

/// How a server serves.
#[derive(Clone, Debug)]
pub(crate) struct Manner {
    /// Its name in logs.
    pub(crate) name: &'static str,
    /// TLS, or plain.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Which versions of HTTP it speaks.
    pub(crate) versions: Versions,
    /// How long open requests may take once the server drains.
    pub(crate) drain_timeout: Duration,
    /// Where its open connections are noted.
    pub(crate) connections: Connections,
}

/// Versions of HTTP, and the patience with their clients.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Versions {
    /// HTTP/1.1.
    One(Patience),
    /// HTTP/1.1 and HTTP/2, whose streams may be silent forever.
    Both {
        /// How long a client of HTTP/1.1 may take to send its headers.
        read_header_timeout: Duration,
    },
}

/// A server whose port is bound; nothing is served yet.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: TcpListener,
    manner: Manner,
}

impl Bound {
    /// Binds the port.
    ///
    /// # Errors
    /// When the port cannot be had; the message names it and its key.
    pub(crate) async fn bind(at: &Listener, manner: Manner) -> Result<Self> {
        let address = SocketAddr::new(at.interface, at.port);
        let bound = match TcpListener::bind(address).await {
            Err(error) if is_without_ipv6(address, &error) => {
                TcpListener::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), at.port)).await
            }
            bound => bound,
        };
        let listener = bound.with_context(|| {
            format!("could not listen on {address} for the {} ({}: {})", manner.name, at.port_key, at.port)
        })?;
        // Accepted connections inherit it.
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
        if let Err(error) = SockRef::from(&listener).set_tcp_keepalive(&keepalive) {
            tracing::warn!(server = manner.name, %error, "dead connections are noticed late");
        }
        Ok(Self { listener, manner })
    }

    /// Serves until `drain`, then finishes what is open until the timeout. `ready` follows.
    pub(crate) async fn run(self, router: Router, ready: Part, drain: CancellationToken) {
        let (listener, manner) = (self.listener, self.manner);
        let leaving = CancellationToken::new();
        let tasks = TaskTracker::new();
        let abort = CancellationToken::new();
        ready.set(true);
        if let Ok(address) = listener.local_addr() {
            tracing::info!(server = manner.name, %address, tls = manner.tls.is_some(), "serving");
        }
        while let Some(accepted) = drain.run_until_cancelled(listener.accept()).await {
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(server = manner.name, %error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // On the heap once, and not copied from task to task: it is large.
            let connection = Box::pin(serve(stream, peer, router.clone(), manner.clone(), leaving.clone()));
            let abort = abort.clone();
            tasks.spawn(async move { abort.run_until_cancelled(connection).await });
        }
        ready.set(false);
        drop(listener);
        tasks.close();
        leaving.cancel();
        if tokio::time::timeout(manner.drain_timeout, tasks.wait()).await.is_err() {
            metrics::counter!("dp_server_force_stop_total", "reason" => "shutdown_timeout").increment(1);
            abort.cancel();
        }
        tracing::info!(server = manner.name, "stopped");
    }
}

/// Whether all interfaces were asked for on a machine that has no IPv6.
fn is_without_ipv6(address: SocketAddr, error: &std::io::Error) -> bool {
    let told = [nix::libc::EAFNOSUPPORT, nix::libc::EADDRNOTAVAIL].map(Some);
    address.ip() == Ipv6Addr::UNSPECIFIED && told.contains(&error.raw_os_error())
}

async fn serve(stream: TcpStream, peer: SocketAddr, router: Router, manner: Manner, leaving: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "could not set TCP_NODELAY");
    }
    match &manner.tls {
        None => serve_io(stream, peer, router, &manner, &leaving).await,
        Some(config) => {
            let handshake = TlsAcceptor::from(Arc::clone(config)).accept(stream);
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
                Ok(Ok(stream)) => serve_io(stream, peer, router, &manner, &leaving).await,
                Ok(Err(error)) => tracing::debug!(server = manner.name, %peer, %error, "TLS handshake failed"),
                Err(_) => tracing::debug!(server = manner.name, %peer, "TLS handshake took too long"),
            }
        }
    }
}

async fn serve_io<S>(stream: S, peer: SocketAddr, router: Router, manner: &Manner, leaving: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = api::Connection { peer, tls: manner.tls.is_some() };
    let entered = manner.connections.enter();
    let closing = &entered.closing;
    let service = router.layer(axum::Extension(connection)).layer(axum::Extension(closing.clone()));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    let served = match manner.versions {
        Versions::One(patience) => {
            let busy = Busy::default();
            let stream = TimedStream::new(stream, patience, busy.clone());
            // The stream keeps the time: hyper's own limit holds between requests as well.
            builder.http1().header_read_timeout(None);
            let service = tower::service_fn(move |request| answer(service.clone(), request, busy.clone()));
            let builder = builder.http1_only();
            let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
            connections::serve(served, closing, leaving).await
        }
        Versions::Both { read_header_timeout } => {
            builder.http1().header_read_timeout(Some(read_header_timeout));
            builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(PING)).keep_alive_timeout(PONG_TIMEOUT);
            let service = TowerToHyperService::new(service);
            let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            connections::serve(served, closing, leaving).await
        }
    };
    if let Err(error) = served {
        tracing::debug!(server = manner.name, %peer, %error, "connection ended");
    }
}

/// Answers a request whose client is not timed meanwhile.
async fn answer(
    router: Router,
    request: Request<hyper::body::Incoming>,
    busy: Busy,
) -> Result<axum::response::Response, std::convert::Infallible> {
    busy.begin();
    let response = router.oneshot(request).await;
    busy.end();
    response
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::*;
    use crate::readiness::Readiness;

    fn manner(drain_timeout: Duration) -> Manner {
        let patience = Patience { head: Some(Duration::from_secs(5)), ..Patience::default() };
        let (versions, connections) = (Versions::One(patience), Connections::default());
        Manner { name: "test server", tls: None, versions, drain_timeout, connections }
    }

    fn anywhere() -> Listener {
        Listener { interface: [127, 0, 0, 1].into(), port: 0, port_key: "test.port" }
    }

    #[tokio::test]
    async fn the_kernel_asks_whether_the_other_machine_is_there() {
        let bound = Bound::bind(&anywhere(), manner(Duration::ZERO)).await.unwrap();
        let client = TcpStream::connect(bound.listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, bound.listener.accept());
        let (_client, (accepted, _)) = (client.unwrap(), accepted.unwrap());
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE);
    }

    #[tokio::test]
    async fn a_request_that_is_open_when_the_server_drains_is_answered() {
        let bound = Bound::bind(&anywhere(), manner(Duration::from_secs(30))).await.unwrap();
        let address = bound.listener.local_addr().unwrap();
        let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (entered_in, go_in) = (Arc::clone(&entered), Arc::clone(&go));
        let router = Router::new().route(
            "/",
            get(async move || {
                entered_in.notify_one();
                go_in.notified().await;
                "done"
            }),
        );
        let drain = CancellationToken::new();
        let mut readiness = Readiness::default();
        let server = tokio::spawn(bound.run(router, readiness.register("test server"), drain.clone()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        entered.notified().await;
        assert!(readiness.missing().is_empty());
        drain.cancel();
        go.notify_one();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
        server.await.unwrap();
        assert_eq!(readiness.missing(), ["test server"]);
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_taken_port_is_told_with_its_key() {
        let first = Bound::bind(&anywhere(), manner(Duration::ZERO)).await.unwrap();
        let port = first.listener.local_addr().unwrap().port();
        let taken = Listener { port, ..anywhere() };
        let error = format!("{:#}", Bound::bind(&taken, manner(Duration::ZERO)).await.unwrap_err());
        assert!(
            error.starts_with(&format!(
                "could not listen on 127.0.0.1:{port} for the test server (test.port: {port}): "
            )),
            "{error}"
        );
    }
}
