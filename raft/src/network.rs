//! The way from this replica to the others.

use std::future::Future;

use openraft::error::{Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{OptionalSend, RaftNetwork, RaftNetworkFactory, Snapshot};

use crate::types::{Replica, ReplicaId, TypeConfig, Vote};

/// The network of a group of one: there is nobody to reach.
#[derive(Clone, Debug)]
pub(crate) struct Alone;

#[derive(Debug, thiserror::Error)]
#[error("this replica has no replica listener, so it reaches no other")]
struct NoListener;

type Rpc<T> = Result<T, RPCError<ReplicaId, Replica, RaftError<ReplicaId>>>;

impl RaftNetworkFactory<TypeConfig> for Alone {
    type Network = Self;

    async fn new_client(&mut self, _target: ReplicaId, _replica: &Replica) -> Self {
        Self
    }
}

impl RaftNetwork<TypeConfig> for Alone {
    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<ReplicaId>> {
        Err(Unreachable::new(&NoListener).into())
    }

    async fn vote(&mut self, _rpc: VoteRequest<ReplicaId>, _option: RPCOption) -> Rpc<VoteResponse<ReplicaId>> {
        Err(Unreachable::new(&NoListener).into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot<TypeConfig>,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<ReplicaId>, StreamingError<TypeConfig, Fatal<ReplicaId>>> {
        Err(NetworkError::new(&NoListener).into())
    }
}
