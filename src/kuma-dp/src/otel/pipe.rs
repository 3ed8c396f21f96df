//! One server a collector, on the socket that Envoy sends to. Servers come and go with the plan.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::channel::Channel;
use super::config::{Backend, SharedPlan, Signal};
use super::export::export;
use super::grpc::{self, Body, Code, Failure};
use crate::metrics::Scraper;

/// The longest message that is passed on, in bytes.
const MESSAGE_LEN_MAX: usize = 16 * 1024 * 1024;
/// How long servers may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the collectors of the plan, and sends them metrics, until `stop`.
pub(crate) async fn run(plan: SharedPlan, scraper: Arc<Scraper>, stop: CancellationToken) -> Result<()> {
    let mut news = plan.subscribe();
    let mut running: BTreeMap<String, (Backend, CancellationToken)> = BTreeMap::new();
    let mut direct: BTreeMap<(String, Duration), CancellationToken> = BTreeMap::new();
    let mut metrics = scraper.subscribe();
    let mut tasks = JoinSet::new();
    loop {
        let wanted = Arc::clone(&news.borrow_and_update());
        running.retain(|_, (backend, stop)| keep_if(wanted.backends.contains(backend), stop));
        for backend in &wanted.backends {
            if running.contains_key(&backend.name) {
                continue;
            }
            let own = stop.child_token();
            running.insert(backend.name.clone(), (backend.clone(), own.clone()));
            tasks.spawn(serve_backend(backend.clone(), Arc::clone(&scraper), own));
        }
        let exports = metrics.borrow_and_update().exports();
        direct.retain(|target, stop| keep_if(exports.contains(target), stop));
        for (socket, interval) in exports {
            direct.entry((socket.clone(), interval)).or_insert_with(|| {
                let (own, scraper) = (stop.child_token(), Arc::clone(&scraper));
                let ended = own.clone();
                tasks.spawn(async move { export(&scraper, &Channel::to_socket(&socket), interval, ended).await });
                own
            });
        }
        tokio::select! {
            changed = news.changed() => changed.context("the plan of telemetry")?,
            changed = metrics.changed() => changed.context("the configuration of metrics")?,
            () = stop.cancelled() => break,
        }
    }
    let ended = async { while tasks.join_next().await.is_some() {} };
    // What does not end in time is cut off with the process.
    drop(tokio::time::timeout(END_TIMEOUT, ended).await);
    Ok(())
}

fn keep_if(wanted: bool, stop: &CancellationToken) -> bool {
    if !wanted {
        stop.cancel();
    }
    wanted
}

/// Serves one collector, and sends it metrics when it wants them.
async fn serve_backend(backend: Backend, scraper: Arc<Scraper>, stop: CancellationToken) {
    let channel = match Channel::to(&backend) {
        Ok(channel) => Arc::new(channel),
        Err(error) => return tracing::error!(backend = backend.name, %error, "no way to the collector"),
    };
    let metrics = async {
        if let Some(interval) = backend.metrics_interval() {
            export(&scraper, &channel, interval, stop.clone()).await;
        }
    };
    let served = async {
        if let Err(error) = serve(&backend, &channel, &stop).await {
            tracing::error!(backend = backend.name, error = format!("{error:#}"), "telemetry is not passed on");
        }
    };
    tokio::join!(metrics, served);
}

async fn serve(backend: &Backend, channel: &Arc<Channel>, stop: &CancellationToken) -> Result<()> {
    let socket = Path::new(&backend.socket_path);
    if socket.exists() {
        std::fs::remove_file(socket).with_context(|| format!("could not remove {}", socket.display()))?;
    }
    let listener = UnixListener::bind(socket).with_context(|| format!("could not listen on {}", socket.display()))?;
    private(socket)?;
    let backend = Arc::new(backend.clone());
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, _) = accepted.context("could not accept a connection")?;
        tokio::spawn(serve_connection(stream, Arc::clone(&backend), Arc::clone(channel), stop.clone()));
    }
    std::fs::remove_file(socket).ok();
    Ok(())
}

/// Only this user may send.
fn private(socket: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(socket, mode).with_context(|| format!("could not protect {}", socket.display()))
}

async fn serve_connection(stream: UnixStream, backend: Arc<Backend>, channel: Arc<Channel>, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let (backend, channel) = (Arc::clone(&backend), Arc::clone(&channel));
        async move { Ok::<_, Infallible>(answer(request, &backend, &channel).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    if let Some(Err(error)) = stop.run_until_cancelled(connection).await {
        tracing::debug!(%error, "a connection of Envoy ended");
    }
}

async fn answer(request: Request<Incoming>, backend: &Backend, channel: &Channel) -> Response<Body> {
    match pass_on(request, backend, channel).await {
        Ok(response) => response,
        Err(failure) => {
            tracing::debug!(backend = backend.name, %failure, "telemetry was not passed on");
            grpc::failed(&failure)
        }
    }
}

async fn pass_on(request: Request<Incoming>, backend: &Backend, channel: &Channel) -> Result<Response<Body>, Failure> {
    let method = request.uri().path();
    let signal = Signal::ALL.into_iter().find(|signal| signal.method() == method);
    let signal = signal.ok_or_else(|| Failure::new(Code::Unimplemented, format!("unknown method {method}")))?;
    if let Some(why) = backend.refusal(signal) {
        let message = format!("OTEL {} exporter is unavailable: {why}", signal.name());
        return Err(Failure::new(Code::FailedPrecondition, message));
    }
    let body = Limited::new(request.into_body(), MESSAGE_LEN_MAX).collect().await.map_err(Failure::unavailable)?;
    channel.send(signal, body.to_bytes()).await
}
