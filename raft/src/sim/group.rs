//! The machines of a group, and the clients that ask them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::ServerState;
use rand::Rng;
use rand::rngs::StdRng;
use store::{Event, Feed, KindFilter, Revision, Txn};
use tokio::sync::{oneshot, watch};

use super::machine::{self, Condition, Cursor, Machine, Running, TIMEOUT};
use super::network::SimNetwork;
use super::oracle::{Oracle, Told};
use super::run::Bug;
use crate::giving_up;
use crate::leadership::Contact;
use crate::proposer::{Proposal, Refusal};
use crate::seal::Keyring;
use crate::types::{Raft, Replica, ReplicaId, encode_txn};

/// How many machines found the group.
pub(crate) const FOUNDERS: usize = 3;
/// How many machines there may be.
pub(crate) const PLACES: usize = 5;

/// A group with its network and its oracle. Clones share it.
#[derive(Clone)]
pub(crate) struct Group {
    machines: Arc<Vec<Mutex<Machine>>>,
    pub(crate) network: SimNetwork,
    oracle: Arc<Mutex<Oracle>>,
    next_id: Arc<AtomicU64>,
    /// Held while the group is changed or a machine is replaced.
    pub(crate) change: Arc<tokio::sync::Mutex<()>>,
    /// What became of the last order that was not carried out.
    last_order: Arc<Mutex<String>>,
    bug: Option<Bug>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    /// Places for machines, the first of which have one that was never started.
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let group = Self {
            machines: Arc::new((0..PLACES).map(|_| Mutex::new(Machine::new(0, false))).collect()),
            network: SimNetwork::new(seed),
            oracle: Arc::default(),
            next_id: Arc::new(AtomicU64::new(1)),
            change: Arc::default(),
            last_order: Arc::default(),
            bug,
        };
        for at in 0..FOUNDERS {
            group.renew(at);
        }
        group
    }

    /// Puts a new machine with an empty disk and an id that was never used into a place.
    pub(crate) fn renew(&self, at: usize) -> ReplicaId {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let machine = Machine::new(id, self.bug == Some(Bug::NoSync));
        *self.at(at) = Machine { condition: Condition::Good, ..machine };
        id
    }

    pub(crate) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        lock(&self.oracle)
    }

    /// The machine in a place.
    pub(crate) fn at(&self, at: usize) -> MutexGuard<'_, Machine> {
        lock(&self.machines[at])
    }

    pub(crate) fn running(&self, at: usize) -> Option<Running> {
        self.at(at).running.clone()
    }

    /// The places with a machine of the group.
    pub(crate) fn places(&self) -> Vec<usize> {
        (0..PLACES).filter(|at| self.at(*at).condition != Condition::Absent).collect()
    }

    /// The ids of the machines of the group.
    pub(crate) fn ids(&self) -> Vec<ReplicaId> {
        self.places().into_iter().map(|at| self.at(at).id).collect()
    }

    /// Who leads.
    pub(crate) fn leader(&self) -> Option<(ReplicaId, Raft)> {
        let leaders = self.places().into_iter().filter_map(|at| {
            let raft = self.running(at)?.raft;
            let now = raft.metrics().borrow().clone();
            (now.state == ServerState::Leader && now.running_state.is_ok()).then_some((now.current_term, now.id, raft))
        });
        leaders.max_by_key(|(term, ..)| *term).map(|(_, id, raft)| (id, raft))
    }

    /// Starts a machine from what is on its disk, unless it runs.
    pub(crate) async fn start(&self, at: usize, seed: u64) -> Result<(), String> {
        let (id, disk, dir, clock) = {
            let mut machine = self.at(at);
            if machine.running.is_some() || machine.condition != Condition::Good {
                return Ok(());
            }
            machine.condition = Condition::Starting;
            (machine.id, machine.disk.handle(), machine.dir.path().to_owned(), Arc::clone(&machine.clock))
        };
        let opened = machine::open(id, &dir, disk, self.network.clone(), seed).await;
        self.at(at).condition = Condition::Good;
        let (raft, feed, watches) = opened?;
        let queue = machine::proposer(raft.clone(), clock, watches.contact.clone());
        let cursor = Arc::new(Mutex::new(feed.snapshot().revision()));
        self.oracle().has(id, &feed.snapshot());
        let reader = tokio::spawn(self.clone().read_feed(id, Arc::clone(&feed), Arc::clone(&cursor)));
        self.network.connect(id, raft.clone());
        tokio::spawn(self.clone().give_up_when_cut_off(id, watches.contact.clone()));
        self.at(at).running =
            Some(Running { raft, feed, queue, watches: Arc::new(watches), cursor, reader: Arc::new(reader) });
        Ok(())
    }

    /// What a leader does that nobody answers, as long as it runs.
    async fn give_up_when_cut_off(self, id: ReplicaId, contact: watch::Receiver<Contact>) {
        let others = || self.ids().into_iter().filter(|other| *other != id).collect();
        let tell = |other| {
            let network = self.network.clone();
            let stand = move |raft: Raft| async move {
                if raft.metrics().borrow().current_leader == Some(id) {
                    raft.trigger().elect().await.ok();
                }
            };
            async move { network.ask(id, other, stand).await.unwrap_or(()) }
        };
        giving_up::whenever_cut_off(contact, others, tell).await;
    }

    /// Starts every machine that does not run, and again what has stopped by itself.
    pub(crate) async fn start_all(&self, rng: &mut StdRng) {
        for at in self.places() {
            self.at(at).disk.fill(false);
            let has_failed = |running: Running| running.raft.metrics().borrow().running_state.is_err();
            if self.running(at).is_some_and(has_failed) {
                self.kill(at, rng).await;
            }
            if let Err(error) = self.start(at, rng.random()).await {
                self.oracle().violated(format!("machine {at} does not start: {error}"));
            }
        }
    }

    /// Makes the machines a group.
    pub(crate) async fn found(&self) {
        let members: BTreeMap<_, _> = self.ids().into_iter().map(|id| (id, Replica::default())).collect();
        let first = self.running(0).expect("it was started");
        first.raft.initialize(members).await.expect("it is pristine");
    }

    /// Cuts the power of a machine.
    pub(crate) async fn kill(&self, at: usize, rng: &mut StdRng) {
        let (id, running) = {
            let mut machine = self.at(at);
            if machine.condition == Condition::Starting {
                return;
            }
            machine.disk.cut_power(rng);
            machine.tear_snapshot();
            self.network.disconnect(machine.id);
            (machine.id, machine.running.take())
        };
        let Some(running) = running else { return };
        running.reader.abort();
        self.catch_up(id, &running);
        // Its disk is dead, so it may fail to stop in order.
        drop(tokio::time::timeout(TIMEOUT, running.raft.shutdown()).await);
    }

    /// What a reader would have seen before the power was cut.
    fn catch_up(&self, id: ReplicaId, running: &Running) {
        let mut cursor = lock(&running.cursor);
        let state = running.feed.snapshot();
        for batch in state.since(*cursor).into_iter().flatten() {
            self.oracle().saw(id, *cursor, batch);
            *cursor = batch.revision;
        }
        self.oracle().has(id, &state);
    }

    async fn read_feed(self, id: ReplicaId, feed: Arc<Feed>, cursor: Cursor) {
        let mut watch = feed.watch(Some(*lock(&cursor)), KindFilter::All);
        while let Some(event) = watch.next().await {
            let mut cursor = lock(&cursor);
            match event {
                Event::Snapshot(state) => {
                    self.oracle().restarted(id, *cursor, &state);
                    *cursor = state.revision();
                }
                Event::Batch(batch) if self.bug == Some(Bug::LostFeedEntry) && batch.revision.0 % 17 == 0 => {}
                Event::Batch(batch) => {
                    self.oracle().saw(id, *cursor, &batch);
                    self.oracle().has(id, &feed.snapshot());
                    *cursor = batch.revision;
                }
            }
        }
    }

    /// A client writes at a machine, under a guard or none, and tells the oracle what it was told.
    pub(crate) async fn write(
        &self,
        at: usize,
        value: u64,
        txn: impl FnOnce(&store::State) -> (Txn, Option<u64>),
    ) -> bool {
        let Some(running) = self.running(at) else { return false };
        let (id, before) = (self.at(at).id, self.oracle().newest());
        self.network.awake(id).await;
        let (txn, guard) = txn(&running.feed.snapshot());
        let (reply, outcome) = oneshot::channel();
        let bytes = encode_txn(&txn, &Keyring::generate()).expect("small");
        let sent = running.queue.send(Proposal { bytes, typed: None, reply }).await;
        let told = match sent {
            Err(_) => Told::Refused,
            Ok(()) => match outcome.await {
                Ok(Ok(Ok(batch))) => Told::Acknowledged(batch.revision),
                Ok(Ok(Err(_)) | Err(Refusal::NotLeader(_) | Refusal::TooLarge(_))) => Told::Refused,
                Ok(Err(Refusal::Unknown | Refusal::Stopped(_))) | Err(_) => Told::Unknown,
            },
        };
        self.network.awake(id).await;
        self.oracle().told(value, guard, before, told);
        matches!(told, Told::Acknowledged(_))
    }

    /// A client reads consistently at a machine.
    pub(crate) async fn read(&self, at: usize) {
        let Some(running) = self.running(at) else { return };
        let (id, at_least) = (self.at(at).id, self.oracle().newest());
        if self.bug == Some(Bug::StaleRead) {
            self.oracle().read(id, at_least, running.feed.snapshot().revision());
            return;
        }
        self.network.awake(id).await;
        let leader = running.raft.metrics().borrow().current_leader;
        let Some(leader) = leader else { return };
        let ask = self.network.ask(id, leader, |raft| async move { raft.get_read_log_id().await });
        let Ok(Some(Ok((Some(index), _)))) = tokio::time::timeout(TIMEOUT, ask).await else { return };
        let mut metrics = running.raft.metrics();
        let applied = metrics.wait_for(|m| m.last_applied >= Some(index));
        if let Ok(Ok(_)) = tokio::time::timeout(TIMEOUT, applied).await {
            self.oracle().read(id, at_least, running.feed.snapshot().revision());
        }
    }

    pub(crate) fn note_order(&self, failed: String) {
        *lock(&self.last_order) = failed;
    }

    /// What each machine says of itself, for a failure.
    pub(crate) fn described(&self) -> String {
        let machines = self.places().into_iter().map(|at| {
            let machine = self.at(at);
            let metrics = machine.running.as_ref().map(|running| running.raft.metrics().borrow().to_string());
            format!("{at}: {} {:?} {}\n", machine.id, machine.condition, metrics.unwrap_or_default())
        });
        format!("{}last order: {}", machines.collect::<String>(), lock(&self.last_order))
    }

    /// Where each machine is, and what it holds.
    pub(crate) fn states(&self) -> Vec<(u64, Revision, String)> {
        let running = self.places().into_iter().filter_map(|at| {
            let machine = self.at(at);
            Some((machine.id, machine.running.clone()?))
        });
        running
            .map(|(id, running)| {
                self.catch_up(id, &running);
                let state = running.feed.snapshot();
                let text = state.iter().map(|r| format!("{r:?}\n")).collect();
                (id, state.revision(), text)
            })
            .collect()
    }
}
