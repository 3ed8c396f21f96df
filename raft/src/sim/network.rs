//! A network in memory: messages take time, get lost, do not pass a partition, which may be one-way,
//! and wait at a machine that is paused.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::error::{Fatal, NetworkError, RPCError, RaftError, RemoteError, ReplicationClosed, StreamingError};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{OptionalSend, RaftNetwork, RaftNetworkFactory, Snapshot};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

use crate::appends::{Announcer, Answer, Appends, Wire};
use crate::standing_again::Granted;
use crate::types::{Raft, Replica, ReplicaId, TypeConfig, Vote};

#[derive(Debug, thiserror::Error)]
#[error("message from {0} to {1} was lost")]
struct LostMessage(ReplicaId, ReplicaId);

/// A caller waits this long for a lost message.
const LOSS_NOTICED_AFTER: Duration = Duration::from_millis(50);

struct Wires {
    rng: StdRng,
    replicas: BTreeMap<ReplicaId, Raft>,
    /// From, to: nothing passes.
    cut: BTreeSet<(ReplicaId, ReplicaId)>,
    /// Of 100 messages.
    lost_percent: u32,
    snapshots_sent: usize,
    /// In which term each replica voted for another one.
    granted: BTreeMap<ReplicaId, Granted>,
}

/// The network of a group.
#[derive(Clone)]
pub(crate) struct SimNetwork {
    wires: Arc<Mutex<Wires>>,
    /// Machines that do nothing: what reaches them waits, and so does what they have to say.
    paused: watch::Sender<BTreeSet<ReplicaId>>,
}

impl SimNetwork {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let wires = Wires {
            rng,
            replicas: BTreeMap::new(),
            cut: BTreeSet::new(),
            lost_percent: 0,
            snapshots_sent: 0,
            granted: BTreeMap::new(),
        };
        Self { wires: Arc::new(Mutex::new(wires)), paused: watch::Sender::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Wires> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connect(&self, id: ReplicaId, raft: Raft) {
        self.lock().replicas.insert(id, raft);
    }

    pub(crate) fn granted(&self, id: ReplicaId) -> Granted {
        self.lock().granted.entry(id).or_default().clone()
    }

    pub(crate) fn disconnect(&self, id: ReplicaId) {
        self.lock().replicas.remove(&id);
        self.resume(id);
    }

    pub(crate) fn pause(&self, id: ReplicaId) {
        self.paused.send_modify(|paused| {
            paused.insert(id);
        });
    }

    pub(crate) fn resume(&self, id: ReplicaId) {
        self.paused.send_modify(|paused| {
            paused.remove(&id);
        });
    }

    /// Waits while a machine is paused.
    pub(crate) async fn awake(&self, id: ReplicaId) {
        let mut paused = self.paused.subscribe();
        // The sender lives as long as the network.
        drop(paused.wait_for(|paused| !paused.contains(&id)).await);
    }

    /// How many snapshots were sent to a replica that was behind.
    pub(crate) fn snapshots_sent(&self) -> usize {
        self.lock().snapshots_sent
    }

    pub(crate) fn cut(&self, from: ReplicaId, to: ReplicaId) {
        self.lock().cut.insert((from, to));
    }

    pub(crate) fn lose(&self, percent: u32) {
        self.lock().lost_percent = percent;
    }

    pub(crate) fn heal(&self) {
        let mut wires = self.lock();
        wires.cut.clear();
        wires.lost_percent = 0;
        drop(wires);
        self.paused.send_modify(BTreeSet::clear);
    }

    /// Whether a message arrives now, and after which delay.
    fn passes(&self, from: ReplicaId, to: ReplicaId) -> Option<Duration> {
        let mut wires = self.lock();
        let delay = Duration::from_micros(wires.rng.random_range(50..5000));
        let is_lost = wires.rng.random_range(0..100) < wires.lost_percent;
        (!is_lost && !wires.cut.contains(&(from, to))).then_some(delay)
    }

    async fn travel(&self, from: ReplicaId, to: ReplicaId) -> Option<()> {
        self.awake(from).await;
        match self.passes(from, to) {
            Some(delay) => tokio::time::sleep(delay).await,
            None => {
                tokio::time::sleep(LOSS_NOTICED_AFTER).await;
                return None;
            }
        }
        self.awake(to).await;
        Some(())
    }

    /// Asks another replica: the question travels, then the answer. A question whose asker gave up
    /// arrives all the same.
    pub(crate) async fn ask<T, F>(
        &self,
        from: ReplicaId,
        to: ReplicaId,
        ask: impl FnOnce(Raft) -> F + Send + 'static,
    ) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let network = self.clone();
        let asked = tokio::spawn(async move {
            network.travel(from, to).await?;
            let raft = network.lock().replicas.get(&to).cloned();
            let Some(raft) = raft else {
                tokio::time::sleep(LOSS_NOTICED_AFTER).await;
                return None;
            };
            let answer = ask(raft).await;
            network.travel(to, from).await?;
            Some(answer)
        });
        asked.await.ok().flatten()
    }
}

/// openraft's way from one replica to another.
pub(crate) struct Link {
    way: Way,
    appends: Appends<Way>,
}

#[derive(Clone)]
struct Way {
    network: SimNetwork,
    from: ReplicaId,
    to: ReplicaId,
}

/// openraft's view of the network at one replica.
pub(crate) struct Port {
    pub(crate) network: SimNetwork,
    pub(crate) id: ReplicaId,
    pub(crate) announcer: Announcer,
}

impl RaftNetworkFactory<TypeConfig> for Port {
    type Network = Link;

    async fn new_client(&mut self, target: ReplicaId, _replica: &Replica) -> Link {
        let way = Way { network: self.network.clone(), from: self.id, to: target };
        Link { appends: Appends::new(way.clone(), target, self.announcer.clone()), way }
    }
}

type Rpc<T> = Result<T, RPCError<ReplicaId, Replica, RaftError<ReplicaId>>>;

impl Way {
    #[allow(clippy::result_large_err, reason = "openraft's error")]
    fn arrived<T>(&self, answer: Option<Result<T, RaftError<ReplicaId>>>) -> Rpc<T> {
        match answer {
            None => Err(NetworkError::new(&LostMessage(self.from, self.to)).into()),
            Some(answer) => answer.map_err(|error| RemoteError::new(self.to, error).into()),
        }
    }
}

impl Wire for Way {
    fn append(&self, rpc: AppendEntriesRequest<TypeConfig>) -> impl Future<Output = Answer> + Send + 'static {
        let way = self.clone();
        async move {
            let answer =
                way.network.ask(way.from, way.to, move |raft| async move { raft.append_entries(rpc).await }).await;
            way.arrived(answer)
        }
    }
}

/// Longer than the network takes to notice a loss.
const PATIENCE: Duration = Duration::from_secs(60);

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<ReplicaId>> {
        match self.appends.send(rpc, PATIENCE).await {
            Some(answer) => answer,
            None => Err(NetworkError::new(&LostMessage(self.way.from, self.way.to)).into()),
        }
    }

    async fn vote(&mut self, rpc: VoteRequest<ReplicaId>, _option: RPCOption) -> Rpc<VoteResponse<ReplicaId>> {
        let way = &self.way;
        let granted = way.network.granted(way.to);
        let vote = move |raft: Raft| async move {
            let response = raft.vote(rpc).await?;
            if response.vote_granted {
                granted.in_term(response.vote.leader_id.term);
            }
            Ok(response)
        };
        let answer = way.network.ask(way.from, way.to, vote).await;
        way.arrived(answer)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<ReplicaId>, StreamingError<TypeConfig, Fatal<ReplicaId>>> {
        let way = &self.way;
        way.network.lock().snapshots_sent += 1;
        let install = way
            .network
            .ask(way.from, way.to, move |raft| async move { raft.install_full_snapshot(vote, snapshot).await });
        let answer = tokio::select! {
            closed = cancel => return Err(closed.into()),
            answer = install => answer,
        };
        match answer {
            None => Err(NetworkError::new(&LostMessage(way.from, way.to)).into()),
            Some(answer) => answer.map_err(|fatal| RemoteError::new(way.to, fatal).into()),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(Duration::from_millis(100)))
    }
}
