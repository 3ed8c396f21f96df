//! openraft's way from this replica to the others.

use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{OptionalSend, RPCTypes, RaftNetwork, RaftNetworkFactory, Snapshot};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::appends::{Announcer, Answer, Appends, Wire};
use crate::codec;
use crate::peers::{CallError, Peers};
use crate::rpc::{Frame, Reply, Request, SnapshotHead};
use crate::snapshot::SnapshotFile;
use crate::types::{Replica, ReplicaId, TypeConfig, Vote, log_id, vote, vote_record};

/// Bytes of a snapshot in one message.
const CHUNK_BYTES: usize = 1024 * 1024;

/// How long a leader waits before it tries an unreachable replica again.
const UNREACHABLE_WAIT: Duration = Duration::from_millis(200);

/// Makes connections for openraft. Without peers (a group of one) nobody is reached.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) own: ReplicaId,
    pub(crate) peers: Option<Peers>,
    /// What the log announces, see [`crate::appends`].
    pub(crate) announcer: Announcer,
}

/// The way to one replica.
pub(crate) struct Connection {
    own: ReplicaId,
    way: Way,
    appends: Appends<Way>,
}

/// Where one replica is reached.
#[derive(Clone, Debug)]
struct Way {
    target: ReplicaId,
    address: String,
    peers: Option<Peers>,
}

/// Pause after a call that was lost.
const LOST_PAUSE: Duration = Duration::from_millis(20);

/// How long sent entries may take before they count as lost.
const APPEND_TIMEOUT: Duration = Duration::from_secs(5);

type Rpc<T> = Result<T, RPCError<ReplicaId, Replica, RaftError<ReplicaId>>>;

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: ReplicaId, replica: &Replica) -> Connection {
        let way = Way { target, address: replica.address.clone(), peers: self.peers.clone() };
        let appends = Appends::new(way.clone(), target, self.announcer.clone());
        Connection { own: self.own, way, appends }
    }
}

impl Way {
    fn peers(&self) -> Result<&Peers, CallError> {
        self.peers.as_ref().ok_or_else(|| CallError::NotSent("this replica has no replica listener".to_owned()))
    }

    async fn call(&self, request: &Request, timeout: Duration) -> Result<Reply, CallError> {
        self.peers()?.call(Some(self.target), &self.address, request, timeout).await
    }
}

impl Wire for Way {
    fn append(&self, rpc: AppendEntriesRequest<TypeConfig>) -> impl Future<Output = Answer> + Send + 'static {
        let way = self.clone();
        async move {
            let reply = way.call(&Request::append(&rpc), APPEND_TIMEOUT).await;
            if matches!(reply, Err(CallError::Lost(_))) {
                // openraft tries again at once; a replica that answers with errors must not make it spin.
                tokio::time::sleep(LOST_PAUSE).await;
            }
            match answered(reply)? {
                Reply::Append(reply) => Ok(reply.response()),
                other => Err(unexpected(&other).into()),
            }
        }
    }
}

impl Connection {
    fn timeout(&self, action: RPCTypes, timeout: Duration) -> Timeout<ReplicaId> {
        Timeout { action, id: self.own, target: self.way.target, timeout }
    }
}

#[allow(clippy::result_large_err, reason = "openraft's error")]
fn answered(reply: Result<Reply, CallError>) -> Rpc<Reply> {
    reply.map_err(|error| match error {
        CallError::NotSent(_) | CallError::Older(_) => Unreachable::new(&error).into(),
        CallError::Lost(_) => NetworkError::new(&error).into(),
    })
}

fn unexpected(reply: &Reply) -> NetworkError {
    NetworkError::new(&CallError::Lost(format!("unexpected answer {reply:?}")))
}

impl RaftNetwork<TypeConfig> for Connection {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<ReplicaId>> {
        match self.appends.send(rpc, option.hard_ttl()).await {
            Some(answer) => answer,
            None => Err(self.timeout(RPCTypes::AppendEntries, option.hard_ttl()).into()),
        }
    }

    async fn vote(&mut self, rpc: VoteRequest<ReplicaId>, option: RPCOption) -> Rpc<VoteResponse<ReplicaId>> {
        let (ttl, request) = (option.hard_ttl(), Request::vote(&rpc));
        let reply = tokio::time::timeout(ttl, self.way.call(&request, ttl)).await;
        match answered(reply.map_err(|_| self.timeout(RPCTypes::Vote, ttl))?)? {
            Reply::Vote { vote: of, granted, last } => {
                Ok(VoteResponse { vote: vote(of), vote_granted: granted, last_log_id: last.map(log_id) })
            }
            other => Err(unexpected(&other).into()),
        }
    }

    async fn full_snapshot(
        &mut self,
        of: Vote,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<ReplicaId>, StreamingError<TypeConfig, Fatal<ReplicaId>>> {
        let send = async {
            let head = codec::encode(&SnapshotHead::new(vote_record(&of), &snapshot.meta))
                .map_err(|e| CallError::NotSent(e.to_string()))?;
            let head = futures::stream::iter([Frame { body: head.into() }]);
            self.way.peers()?.install(self.way.target, &self.way.address, head.chain(chunks(*snapshot.snapshot))).await
        };
        let reply = tokio::select! {
            closed = cancel => return Err(closed.into()),
            reply = send => reply,
        };
        match reply {
            Ok(Reply::Installed { vote: of }) => Ok(SnapshotResponse::new(vote(of))),
            Ok(other) => Err(unexpected(&other).into()),
            Err(error @ (CallError::NotSent(_) | CallError::Older(_))) => Err(Unreachable::new(&error).into()),
            Err(error @ CallError::Lost(_)) => Err(NetworkError::new(&error).into()),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(UNREACHABLE_WAIT))
    }
}

/// The file in chunks, read as the receiver takes them. A read error ends the stream early, which
/// the receiver notices by the checksum.
fn chunks(file: SnapshotFile) -> impl futures::Stream<Item = Frame> + Send + 'static {
    let (sender, receiver) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let mut offset = 0;
        loop {
            match file.read_chunk(offset, CHUNK_BYTES) {
                Ok(chunk) if chunk.is_empty() => return,
                Ok(chunk) => {
                    offset += chunk.len() as u64;
                    if sender.blocking_send(Frame { body: chunk.into() }).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "snapshot cannot be read");
                    return;
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}
