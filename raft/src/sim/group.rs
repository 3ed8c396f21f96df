//! The machines of a group: they start, lose power, and are asked by clients.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use store::{Event, Feed, KindFilter, Revision, Txn};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::disk::{Disk, DiskHandle};
use super::network::{Port, SimNetwork};
use super::oracle::{Oracle, Told};
use super::run::Bug;
use crate::flusher::{Flusher, Job};
use crate::keys::Keys;
use crate::latency::Latency;
use crate::log::{LogBackend, LogStore};
use crate::proposer::{self, Proposal, Refusal};
use crate::seal::Keyring;
use crate::settings::Settings;
use crate::snapshot::SnapshotDir;
use crate::state_machine::StateMachine;
use crate::types::{Raft, Replica, ReplicaId, encode_txn};

const TIMEOUT: Duration = Duration::from_secs(2);

/// How far the reader of a replica's feed is.
type Cursor = Arc<Mutex<Revision>>;

#[derive(Clone)]
struct Running {
    raft: Raft,
    feed: Arc<Feed>,
    queue: mpsc::Sender<Proposal>,
    cursor: Cursor,
    reader: Arc<JoinHandle<()>>,
}

struct Machine {
    id: ReplicaId,
    disk: Disk,
    dir: TempDir,
    running: Option<Running>,
}

/// A group with its network and its oracle. Clones share it.
#[derive(Clone)]
pub(crate) struct Group {
    machines: Arc<Vec<Mutex<Machine>>>,
    pub(crate) network: SimNetwork,
    oracle: Arc<Mutex<Oracle>>,
    bug: Option<Bug>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    /// Three machines that were never started.
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let machine = |id| {
            let disk = Disk::new(bug == Some(Bug::NoSync));
            Mutex::new(Machine { id, disk, dir: tempfile::tempdir().expect("a directory"), running: None })
        };
        let machines = Arc::new((1..=3).map(machine).collect());
        Self { machines, network: SimNetwork::new(seed), oracle: Arc::default(), bug }
    }

    pub(crate) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        lock(&self.oracle)
    }

    pub(crate) fn len(&self) -> usize {
        self.machines.len()
    }

    pub(crate) fn is_running(&self, at: usize) -> bool {
        lock(&self.machines[at]).running.is_some()
    }

    fn running(&self, at: usize) -> Option<Running> {
        lock(&self.machines[at]).running.clone()
    }

    /// Starts a machine from what is on its disk.
    pub(crate) async fn start(&self, at: usize, seed: u64) -> Result<(), String> {
        let (id, disk, dir) = {
            let machine = lock(&self.machines[at]);
            (machine.id, machine.disk.handle(), machine.dir.path().to_owned())
        };
        let keys = dir.join("keys");
        let keys = match Keys::load(&keys).map_err(|e| e.to_string())? {
            Some(keys) => keys,
            None => Keys::create(&keys, Keyring::generate()).map_err(|e| e.to_string())?,
        };
        let log = LogStore::open(Arc::new(disk.clone()), slow_flusher(disk, seed)).map_err(|e| e.to_string())?;
        let snapshots = SnapshotDir::open(dir.join("snapshots")).map_err(|e| e.to_string())?;
        let (machine, feed) = StateMachine::open(snapshots, keys).map_err(|e| e.to_string())?;
        let settings = Settings { snapshot_after_entries: 40, entries_kept: 10, ..Settings::new(&dir) };
        let config = Arc::new(settings.openraft().map_err(|e| e.to_string())?);
        let port = Port { network: self.network.clone(), id };
        let raft = Raft::new(id, config, port, log, machine).await.map_err(|e| e.to_string())?;
        let queue = proposer::start(raft.clone(), TIMEOUT, Latency::new("sim"));
        let cursor = Arc::new(Mutex::new(feed.snapshot().revision()));
        let reader = tokio::spawn(self.clone().read_feed(id, Arc::clone(&feed), Arc::clone(&cursor)));
        self.network.connect(id, raft.clone());
        lock(&self.machines[at]).running = Some(Running { raft, feed, queue, cursor, reader: Arc::new(reader) });
        Ok(())
    }

    /// Makes the machines a group.
    pub(crate) async fn found(&self) {
        let members: BTreeMap<_, _> = self.machines.iter().map(|m| (lock(m).id, Replica::default())).collect();
        let first = self.running(0).expect("it was started");
        first.raft.initialize(members).await.expect("it is pristine");
    }

    /// Cuts the power of a machine.
    pub(crate) async fn kill(&self, at: usize, rng: &mut StdRng) {
        let (id, running) = {
            let mut machine = lock(&self.machines[at]);
            machine.disk.cut_power(|unsynced| rng.random_range(0..=unsynced));
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
    }

    async fn read_feed(self, id: ReplicaId, feed: Arc<Feed>, cursor: Cursor) {
        let mut watch = feed.watch(Some(*lock(&cursor)), KindFilter::All);
        drop(feed);
        while let Some(event) = watch.next().await {
            let mut cursor = lock(&cursor);
            match event {
                Event::Snapshot(state) => *cursor = state.revision(),
                Event::Batch(batch) if self.bug == Some(Bug::LostFeedEntry) && batch.revision.0 % 17 == 0 => {}
                Event::Batch(batch) => {
                    self.oracle().saw(id, *cursor, &batch);
                    *cursor = batch.revision;
                }
            }
        }
    }

    /// A client writes at a machine, and tells the oracle what it was told.
    pub(crate) async fn write(&self, at: usize, value: u64, txn: impl FnOnce(&store::State) -> Txn) -> bool {
        let Some(running) = self.running(at) else { return false };
        let txn = txn(&running.feed.snapshot());
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
        self.oracle().told(value, told);
        matches!(told, Told::Acknowledged(_))
    }

    /// A client reads consistently at a machine.
    pub(crate) async fn read(&self, at: usize) {
        let Some(running) = self.running(at) else { return };
        let id = lock(&self.machines[at]).id;
        let at_least = self.oracle().newest();
        if self.bug == Some(Bug::StaleRead) {
            self.oracle().read(id, at_least, running.feed.snapshot().revision());
            return;
        }
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

    /// Where each machine is, and what it holds.
    pub(crate) fn states(&self) -> Vec<(u64, Revision, String)> {
        (0..self.len())
            .filter_map(|at| {
                let machine = lock(&self.machines[at]);
                Some((machine.id, machine.running.clone()?))
            })
            .map(|(id, running)| {
                self.catch_up(id, &running);
                let state = running.feed.snapshot();
                let text = state.iter().map(|r| format!("{r:?}\n")).collect();
                (id, state.revision(), text)
            })
            .collect()
    }
}

/// Syncs a while after it was asked, in virtual time, so that a power cut falls in between.
fn slow_flusher(disk: DiskHandle, seed: u64) -> Flusher {
    let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
    tokio::spawn(async move {
        let mut rng = StdRng::seed_from_u64(seed);
        while let Some(first) = queue.recv().await {
            tokio::time::sleep(Duration::from_micros(rng.random_range(100..8000))).await;
            let mut waiting = vec![first];
            while let Ok(job) = queue.try_recv() {
                waiting.push(job);
            }
            let synced = disk.sync();
            waiting.into_iter().for_each(|job| job.complete(&synced));
        }
    });
    Flusher::to(move |job| jobs.send(job).map_err(|_| std::io::Error::other("flusher stopped")))
}
