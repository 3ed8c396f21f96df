//! The replica listener: mutual TLS, one gRPC service with two methods.
//!
//! `Call` takes one [`Request`] and gives one [`Reply`]; `Install` takes a snapshot in chunks. A
//! caller without a certificate of the cluster may only join.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use openraft::Snapshot;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{ClientStreamingService, Grpc, NamedService, UnaryService};
use tonic::transport::{CertificateDer, Server, ServerTlsConfig};
use tonic::{Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::RaftStore;
use crate::codec;
use crate::peers::{CALL, INSTALL, MESSAGE_BYTES_MAX, REMOVED, SERVICE, TARGET};
use crate::pki;
use crate::rpc::{Frame, Reply, Request, SnapshotHead};
use crate::seal::Keyring;
use crate::snapshot::SnapshotFile;
use crate::types::{ReplicaId, vote, vote_record};

/// A bound listener that does not serve yet.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
}

impl Listener {
    pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` turns true or its sender is gone, with the newest certificate.
    pub(crate) fn serve(
        self,
        store: RaftStore,
        mut tls: watch::Receiver<ServerTlsConfig>,
        mut stop: watch::Receiver<bool>,
    ) {
        let listener = Arc::new(self.listener);
        tokio::spawn(async move {
            while !*stop.borrow() {
                let renewed = tls.borrow_and_update().clone();
                let builder = Server::builder().tls_config(renewed);
                let router = match builder {
                    Ok(mut builder) => builder.add_service(ReplicaService { store: store.clone() }),
                    Err(error) => return tracing::error!(%error, "replica listener cannot use its certificate"),
                };
                let incoming = accepted(Arc::clone(&listener));
                let (ended, end) = tokio::sync::oneshot::channel::<()>();
                tokio::spawn(async move {
                    let signal = async move { drop(end.await) };
                    if let Err(error) = router.serve_with_incoming_shutdown(incoming, signal).await {
                        tracing::error!(%error, "replica listener stopped");
                    }
                });
                // Stopped, abandoned with its replica, or there is a new certificate: connections
                // are ended in order and made anew. They end meanwhile; others are accepted already.
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return drop(ended),
                    renewed = tls.changed() => {
                        drop(ended);
                        if renewed.is_err() {
                            return;
                        }
                    }
                }
            }
        });
    }
}

/// The connections of a listener, until this stream is dropped.
fn accepted(listener: Arc<TcpListener>) -> impl futures::Stream<Item = std::io::Result<TcpStream>> {
    futures::stream::unfold(listener, |listener| async move {
        let stream = listener.accept().await.and_then(|(stream, _)| {
            // Two small answers in a row must not wait for an acknowledgement in between, for 40 ms.
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        Some((stream, listener))
    })
}

#[derive(Clone)]
struct ReplicaService {
    store: RaftStore,
}

impl NamedService for ReplicaService {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<tonic::body::Body>> for ReplicaService {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Frame, Frame>::default())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
            // On the path that was routed, not on anything that the caller claims.
            Ok(match request.uri().path() {
                CALL => grpc.unary(CallMethod(service), request).await,
                INSTALL => grpc.client_streaming(InstallMethod(service), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

struct CallMethod(ReplicaService);
struct InstallMethod(ReplicaService);

/// A holder of a certificate of the cluster.
struct Caller {
    chain: Arc<Vec<CertificateDer<'static>>>,
}

impl Caller {
    /// Which replica it is, as its certificate tells.
    fn id(&self) -> Option<ReplicaId> {
        self.chain.first().and_then(|certificate| pki::replica_of(certificate))
    }
}

/// Who asks; `None` for a stranger.
fn caller<T>(request: &tonic::Request<T>) -> Option<Caller> {
    request.peer_certs().filter(|chain| !chain.is_empty()).map(|chain| Caller { chain })
}

/// Refuses who was removed, and what is for a replica whose address this one has now.
fn check<T>(store: &RaftStore, caller: &Caller, request: &tonic::Request<T>) -> Result<(), Status> {
    let removed = store.removed();
    if let Some(id) = removed.any().then(|| caller.id()).flatten().filter(|id| removed.has(*id)) {
        let mut status = Status::permission_denied(format!("replica {id} was removed from the group"));
        status.metadata_mut().insert(REMOVED, id.into());
        return Err(status);
    }
    let target = request.metadata().get(TARGET).and_then(|value| value.to_str().ok()?.parse::<ReplicaId>().ok());
    match target.filter(|target| *target != store.id()) {
        Some(target) => Err(Status::permission_denied(format!("replica {target} is not here, but {}", store.id()))),
        None => Ok(()),
    }
}

fn reply(reply: &Reply) -> Result<Response<Frame>, Status> {
    let body = codec::encode_in(reply.format(), reply).map_err(|e| Status::internal(e.to_string()))?;
    Ok(Response::new(Frame { body: body.into() }))
}

impl UnaryService<Frame> for CallMethod {
    type Response = Frame;
    type Future = BoxFuture<Response<Frame>, Status>;

    fn call(&mut self, request: tonic::Request<Frame>) -> Self::Future {
        let store = self.0.store.clone();
        Box::pin(async move {
            let caller = caller(&request);
            if let Some(caller) = &caller {
                check(&store, caller, &request)?;
            }
            let is_replica = caller.is_some();
            let body = request.into_inner().body;
            let readable = codec::format_of(&body, store.reads_format()).and_then(|_| codec::decode(&body));
            let question: Request = match readable {
                Ok(question) => question,
                Err(error) if is_replica => return Err(Status::invalid_argument(error.to_string())),
                Err(_) => return Err(Status::permission_denied("not a replica")),
            };
            if !is_replica && !matches!(question, Request::Join { .. }) {
                return Err(Status::permission_denied("not a replica"));
            }
            reply(&store.answer(question).await?)
        })
    }
}

impl ClientStreamingService<Frame> for InstallMethod {
    type Response = Frame;
    type Future = BoxFuture<Response<Frame>, Status>;

    fn call(&mut self, request: tonic::Request<Streaming<Frame>>) -> Self::Future {
        let store = self.0.store.clone();
        Box::pin(async move {
            let caller = caller(&request).ok_or_else(|| Status::permission_denied("not a replica"))?;
            check(&store, &caller, &request)?;
            let vote = receive(&store, request.into_inner()).await?;
            reply(&Reply::Installed { vote })
        })
    }
}

async fn receive(store: &RaftStore, mut frames: Streaming<Frame>) -> Result<crate::record::VoteRecord, Status> {
    let first = frames.next().await.ok_or_else(|| Status::invalid_argument("no snapshot"))??;
    let head: SnapshotHead = codec::decode(&first.body).map_err(|e| Status::invalid_argument(e.to_string()))?;
    let unavailable = |e: &dyn std::fmt::Display| Status::unavailable(e.to_string());
    let file = *store.raft().begin_receiving_snapshot().await.map_err(|e| unavailable(&e))?;
    if let Err(status) = fill(&file, &mut frames, store.keys()).await {
        file.discard();
        return Err(status);
    }
    let snapshot = Snapshot { meta: head.meta(), snapshot: Box::new(file) };
    let response = store.raft().install_full_snapshot(vote(head.vote), snapshot).await.map_err(|e| unavailable(&e))?;
    Ok(vote_record(&response.vote))
}

/// Receives the chunks and checks the whole: a torn transfer must not reach the state machine, which
/// would stop this replica.
async fn fill(file: &SnapshotFile, frames: &mut Streaming<Frame>, keys: Arc<Keyring>) -> Result<(), Status> {
    let mut offset = 0;
    while let Some(frame) = frames.next().await {
        let chunk = frame?.body;
        file.write_chunk(offset, &chunk).map_err(|e| Status::unavailable(e.to_string()))?;
        offset += chunk.len() as u64;
    }
    let received = file.clone();
    let checked = tokio::task::spawn_blocking(move || crate::snapshot::read(&received, &keys).map(drop)).await;
    checked.map_err(|e| Status::unavailable(e.to_string()))?.map_err(|e| Status::data_loss(e.to_string()))
}
