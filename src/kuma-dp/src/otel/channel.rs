//! A way to a collector: gRPC over one connection that is made again when it is lost, or HTTP.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpStream, UnixStream};

use super::config::{Backend, Signal};
use super::grpc::{self, Body, Failure};

/// How long a collector may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a collector's complaint is passed on, in bytes.
const COMPLAINT_LEN_MAX: usize = 1024;

/// A way to a collector.
#[derive(Debug)]
pub(super) enum Channel {
    /// gRPC.
    Grpc(Connection),
    /// Protobuf in the body of a POST.
    Http(reqwest::Client, Box<Backend>),
}

impl Channel {
    /// The way to the collector of a backend.
    pub(super) fn to(backend: &Backend) -> reqwest::Result<Self> {
        if !backend.use_http {
            return Ok(Self::Grpc(Connection::new(Target::Tcp(backend.address()))));
        }
        let client = crate::http::client_builder().no_proxy().timeout(TIMEOUT).build()?;
        Ok(Self::Http(client, Box::new(backend.clone())))
    }

    /// The way to a listener of Envoy that leads to a collector.
    pub(super) fn to_socket(path: &str) -> Self {
        Self::Grpc(Connection::new(Target::Unix(path.into())))
    }

    /// Sends a framed message; the collector's answer.
    pub(super) async fn send(&self, signal: Signal, framed: Bytes) -> Result<Response<Body>, Failure> {
        match self {
            Self::Grpc(connection) => {
                let sent = tokio::time::timeout(TIMEOUT, connection.send(signal.method(), framed)).await;
                sent.map_err(|_| Failure::unavailable("the collector did not answer in time"))?
            }
            Self::Http(client, backend) => {
                let message = grpc::unframe(&framed)?;
                let request = client.post(backend.url(signal)).body(message);
                let request = request.header(header::CONTENT_TYPE, "application/x-protobuf");
                let answer = request.send().await.map_err(Failure::unavailable)?;
                let status = answer.status();
                if status.is_success() {
                    return Ok(grpc::done());
                }
                let mut complaint = answer.text().await.unwrap_or_default();
                let end = (0..=COMPLAINT_LEN_MAX).rev().find(|at| complaint.is_char_boundary(*at)).unwrap_or(0);
                complaint.truncate(end);
                let separator = if complaint.is_empty() { "" } else { ": " };
                let code = status.as_u16();
                Err(Failure::unavailable(format!("collector returned status {code}{separator}{complaint}")))
            }
        }
    }
}

/// What a connection leads to.
#[derive(Debug)]
enum Target {
    Tcp(String),
    Unix(PathBuf),
}

/// An HTTP/2 connection, made when it is needed.
#[derive(Debug)]
pub(super) struct Connection {
    target: Target,
    open: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Connection {
    fn new(target: Target) -> Self {
        Self { target, open: Mutex::default() }
    }

    async fn send(&self, method: &str, framed: Bytes) -> Result<Response<Body>, Failure> {
        let mut sender = self.sender().await?;
        sender.ready().await.map_err(Failure::unavailable)?;
        let authority = match &self.target {
            Target::Tcp(address) => address,
            Target::Unix(_) => "localhost",
        };
        let mut request = Request::post(format!("http://{authority}{method}"))
            .body(Full::new(framed))
            .map_err(Failure::unavailable)?;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        let (head, body) = sender.send_request(request).await.map_err(Failure::unavailable)?.into_parts();
        let body = body.collect().await.map_err(Failure::unavailable)?;
        let trailers = body.trailers().cloned().unwrap_or_else(|| status_of(&head.headers));
        Ok(grpc::answer(body.to_bytes(), trailers))
    }

    async fn sender(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(open) = open.filter(|open| !open.is_closed()) {
            return Ok(open);
        }
        let sender = match &self.target {
            Target::Tcp(address) => connected(TcpStream::connect(address).await).await?,
            Target::Unix(path) => connected(UnixStream::connect(path).await).await?,
        };
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender.clone());
        Ok(sender)
    }
}

async fn connected<S>(stream: std::io::Result<S>) -> Result<SendRequest<Full<Bytes>>, Failure>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream.map_err(Failure::unavailable)?);
    let (sender, connection) = handshake(TokioExecutor::new(), stream).await.map_err(Failure::unavailable)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection to the collector ended");
        }
    });
    Ok(sender)
}

/// The status of an answer that has no trailers.
fn status_of(headers: &HeaderMap) -> HeaderMap {
    let named = [grpc::STATUS, grpc::MESSAGE].into_iter();
    named.filter_map(|name| Some((name.clone(), headers.get(&name)?.clone()))).collect()
}
