//! The replica listener: mutual TLS, one gRPC service with two methods.
//!
//! `Call` takes one [`Request`] and gives one [`Reply`]; `Install` takes a snapshot in chunks. A
//! caller without a certificate of the cluster may only join.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::Snapshot;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{ClientStreamingService, Grpc, NamedService, UnaryService};
use tonic::transport::{self, CertificateDer, ServerTlsConfig};
use tonic::{Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::RaftStore;
use crate::authority::{self, Fingerprint};
use crate::codec;
use crate::peers::{CALL, INSTALL, MESSAGE_BYTES_MAX, REMOVED, SERVICE, TARGET};
use crate::rpc::{Frame, Reply, Request, SnapshotHead};
use crate::seal::Keyring;
use crate::snapshot::SnapshotFile;
use crate::types::{ReplicaId, vote, vote_record};

/// How long a handshake that was begun with a former certificate may take to end.
const HANDSHAKE_MAX: Duration = Duration::from_secs(2);

/// Pause after a connection could not be accepted: there may be too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A bound listener that does not serve yet.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
}

/// Where accepted connections go: to a server with the newest certificate. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doors {
    servers: Arc<Mutex<Servers>>,
}

#[derive(Debug, Default)]
struct Servers {
    /// The oldest first. Those before the last one end soon.
    running: VecDeque<Server>,
    stopped: bool,
}

#[derive(Debug)]
struct Server {
    connections: mpsc::UnboundedSender<TcpStream>,
    /// Connections end in order when it is dropped.
    _open: oneshot::Sender<()>,
}

impl Listener {
    pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts connections until `stop` turns true or its sender is gone.
    pub(crate) fn serve(self, doors: Doors, mut stop: watch::Receiver<bool>) {
        tokio::spawn(async move {
            let accept = async {
                loop {
                    match self.listener.accept().await {
                        Ok((stream, _)) => doors.admit(stream),
                        Err(error) => {
                            tracing::debug!(%error, "connection of a replica was not accepted");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            };
            tokio::select! {
                () = accept => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            doors.close();
        });
    }
}

impl Doors {
    /// Serves connections that are accepted from now on with this certificate. Those that are open
    /// end in order and are made anew; until then they may ask only if all whom they could have
    /// believed, `trusted`, are still believed.
    pub(crate) fn open(
        &self,
        store: &RaftStore,
        tls: ServerTlsConfig,
        trusted: Vec<Fingerprint>,
    ) -> Result<(), String> {
        let mut builder = transport::Server::builder().tls_config(tls).map_err(|e| e.to_string())?;
        let router = builder.add_service(ReplicaService { store: store.clone(), trusted: trusted.into() });
        let (connections, accepted) = mpsc::unbounded_channel();
        let (open, closed) = oneshot::channel();
        let has_former = {
            let mut servers = self.lock();
            if servers.stopped {
                return Ok(());
            }
            servers.running.push_back(Server { connections, _open: open });
            servers.running.len() > 1
        };
        tokio::spawn(async move {
            let incoming = UnboundedReceiverStream::new(accepted).map(Ok::<_, std::io::Error>);
            let signal = async move { drop(closed.await) };
            if let Err(error) = router.serve_with_incoming_shutdown(incoming, signal).await {
                tracing::error!(%error, "replica listener stopped");
            }
        });
        if has_former {
            let doors = self.clone();
            tokio::spawn(async move {
                // Who has begun a handshake believes that it goes on.
                tokio::time::sleep(HANDSHAKE_MAX).await;
                doors.lock().running.pop_front();
            });
        }
        Ok(())
    }

    fn admit(&self, stream: TcpStream) {
        // Two small answers in a row must not wait for an acknowledgement in between, for 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            return tracing::debug!(%error, "connection of a replica was not accepted");
        }
        if let Some(server) = self.lock().running.back() {
            // A server that is gone has said why.
            drop(server.connections.send(stream));
        }
    }

    fn close(&self) {
        *self.lock() = Servers { running: VecDeque::new(), stopped: true };
    }

    fn lock(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct ReplicaService {
    store: RaftStore,
    /// Whose certificates were believed when its connections were made.
    trusted: Arc<[Fingerprint]>,
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

impl ReplicaService {
    /// Refuses what comes by a connection that could not be made any more: an authority was dropped.
    fn check_trust(&self) -> Result<(), Status> {
        let is_dropped = self.store.pki().is_none_or(|pki| {
            let trusted = pki.trusted();
            self.trusted.iter().any(|authority| !trusted.contains(authority))
        });
        match is_dropped {
            true => Err(Status::aborted("the authority of replicas was replaced, connect anew")),
            false => Ok(()),
        }
    }
}

/// A holder of a certificate of the cluster.
struct Caller {
    chain: Arc<Vec<CertificateDer<'static>>>,
}

impl Caller {
    /// Which replica it is, as its certificate tells.
    fn id(&self) -> Option<ReplicaId> {
        self.chain.first().and_then(|certificate| authority::replica_of(certificate))
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
        let service = self.0.clone();
        Box::pin(async move {
            service.check_trust()?;
            let store = service.store;
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
        let service = self.0.clone();
        Box::pin(async move {
            service.check_trust()?;
            let caller = caller(&request).ok_or_else(|| Status::permission_denied("not a replica"))?;
            check(&service.store, &caller, &request)?;
            let vote = receive(&service, request.into_inner()).await?;
            reply(&Reply::Installed { vote })
        })
    }
}

async fn receive(service: &ReplicaService, mut frames: Streaming<Frame>) -> Result<crate::record::VoteRecord, Status> {
    let store = &service.store;
    let first = frames.next().await.ok_or_else(|| Status::invalid_argument("no snapshot"))??;
    let head: SnapshotHead = codec::decode(&first.body).map_err(|e| Status::invalid_argument(e.to_string()))?;
    let unavailable = |e: &dyn std::fmt::Display| Status::unavailable(e.to_string());
    let file = *store.raft().begin_receiving_snapshot().await.map_err(|e| unavailable(&e))?;
    let received = fill(&file, &mut frames, store.keys()).await;
    if let Err(status) = received.and_then(|()| service.check_trust()) {
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
