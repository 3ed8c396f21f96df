//! One machine of a group: it starts from its disk, loses power, and may be replaced for good.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use store::{Feed, Revision};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::disk::{Disk, DiskHandle};
use super::network::{Port, SimNetwork};
use crate::flusher::{Flusher, Job};
use crate::keys::Keys;
use crate::latency::Latency;
use crate::leadership::{self, Contact, Watches};
use crate::log::LogStore;
use crate::proposer::{self, Clock, Proposal, Proposer};
use crate::seal::Keyring;
use crate::settings::Settings;
use crate::silence;
use crate::snapshot::SnapshotDir;
use crate::standing_again;
use crate::state_machine::StateMachine;
use crate::types::{Raft, ReplicaId};

/// How long a client or an operator of the simulation waits for an answer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// How far the reader of a replica's feed is.
pub(crate) type Cursor = Arc<Mutex<Revision>>;

/// A replica that runs.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) raft: Raft,
    pub(crate) feed: Arc<Feed>,
    pub(crate) queue: mpsc::Sender<Proposal>,
    /// Kept, so that it goes on being told.
    pub(crate) watches: Arc<Watches>,
    pub(crate) cursor: Cursor,
    pub(crate) reader: Arc<JoinHandle<()>>,
}

/// What a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing is known of it: it is not part of the group.
    Absent,
    /// Its disk is good.
    Good,
    /// It is being started.
    Starting,
    /// Its disk is damaged: it stays off until it is replaced.
    Broken,
}

/// A place for a machine, and what stands there.
pub(crate) struct Machine {
    pub(crate) id: ReplicaId,
    pub(crate) disk: Disk,
    pub(crate) dir: TempDir,
    pub(crate) condition: Condition,
    pub(crate) running: Option<Running>,
    /// Seconds by which its clock is wrong.
    pub(crate) clock: Arc<AtomicI64>,
}

impl Machine {
    /// A new machine with an empty disk.
    pub(crate) fn new(id: ReplicaId, disk_lies: bool) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Disk::new(disk_lies);
        Self { id, disk, dir, condition: Condition::Absent, running: None, clock: Arc::default() }
    }

    /// Damages a byte of its snapshot; whether there was one. The power is off.
    pub(crate) fn corrupt_snapshot(&self, rng: &mut StdRng) -> bool {
        let Ok(files) = std::fs::read_dir(self.dir.path().join("snapshots")) else { return false };
        let mut whole = files.flatten().map(|file| file.path());
        let Some(file) = whole.find(|file| file.extension().is_some_and(|e| e == "snapshot")) else { return false };
        let mut bytes = std::fs::read(&file).expect("it is there");
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 0x10;
        std::fs::write(file, bytes).expect("it can be written");
        true
    }

    /// Leaves half a snapshot, as a power cut does.
    pub(crate) fn tear_snapshot(&self) {
        let half = self.dir.path().join("snapshots").join("0123456789abcdef.tmp");
        std::fs::write(half, b"kumasnap").ok();
    }
}

/// The shortest election timeout of a machine.
pub(crate) const ELECTION_TIMEOUT_MIN: Duration = Duration::from_millis(250);

/// A replica and the feed that it publishes to, from what is on a disk.
pub(crate) async fn open(
    id: ReplicaId,
    dir: &Path,
    disk: DiskHandle,
    network: SimNetwork,
    seed: u64,
) -> Result<(Raft, Arc<Feed>, Watches), String> {
    let keys = dir.join("keys");
    let keys = match Keys::load(&keys).map_err(|e| e.to_string())? {
        Some(keys) => keys,
        None => Keys::create(&keys, Keyring::generate()).map_err(|e| e.to_string())?,
    };
    let log = LogStore::open(Arc::new(disk.clone()), slow_flusher(disk, seed)).map_err(|e| e.to_string())?;
    let snapshots = SnapshotDir::open(dir.join("snapshots")).map_err(|e| e.to_string())?;
    let (machine, feed) = StateMachine::open(snapshots, keys).map_err(|e| e.to_string())?;
    let log = log.covered_by(machine.covered());
    // openraft draws the timeout between the two; so it is the seed that says it.
    let timeout = StdRng::seed_from_u64(seed).random_range(ELECTION_TIMEOUT_MIN..ELECTION_TIMEOUT_MIN * 8 / 5);
    let settings = Settings {
        snapshot_after_entries: 40,
        entries_kept: 10,
        election_timeout_min: timeout,
        election_timeout_max: timeout + Duration::from_millis(1),
        ..Settings::new(dir)
    };
    let config = Arc::new(settings.openraft().map_err(|e| e.to_string())?);
    let announcer = log.announcer();
    let port = Port { network: network.clone(), id, announcer: announcer.clone() };
    let raft = Raft::new(id, config, port, log, machine).await.map_err(|e| e.to_string())?;
    tokio::spawn(silence::stand_after(raft.clone(), id, settings.election_max()));
    let (granted, lease) = (network.granted(id), settings.election_timeout_max);
    tokio::spawn(standing_again::whenever_deposed(raft.clone(), granted, lease, || false));
    let watches = leadership::start(&raft, settings.silence(), announcer);
    Ok((raft, feed, watches))
}

/// The queue of the proposer, which stamps what it proposes by a clock that may be wrong.
pub(crate) fn proposer(
    raft: Raft,
    wrong_by: Arc<AtomicI64>,
    contact: watch::Receiver<Contact>,
) -> mpsc::Sender<Proposal> {
    let start = tokio::time::Instant::now();
    let clock: Clock = Arc::new(move || {
        let now = i64::try_from(start.elapsed().as_secs()).unwrap_or(0) + 1_000_000_000;
        Timestamp::new(now + wrong_by.load(Ordering::Relaxed), 0).unwrap_or(Timestamp::UNIX_EPOCH)
    });
    proposer::start(Proposer { raft, timeout: TIMEOUT, latency: Latency::new("sim"), clock, contact })
}

/// Syncs a while after it was asked, in virtual time, so that a power cut falls in between.
fn slow_flusher(disk: DiskHandle, seed: u64) -> Flusher {
    let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
    tokio::spawn(async move {
        let mut rng = StdRng::seed_from_u64(seed);
        while let Some(first) = queue.recv().await {
            let slowest = if disk.is_slow() { 600_000 } else { 8000 };
            tokio::time::sleep(Duration::from_micros(rng.random_range(100..slowest))).await;
            let mut waiting = vec![first];
            while let Ok(job) = queue.try_recv() {
                waiting.push(job);
            }
            let synced = crate::log::LogBackend::sync(&disk);
            waiting.into_iter().for_each(|job| job.complete(&synced));
        }
    });
    Flusher::to(move |job| jobs.send(job).map_err(|_| std::io::Error::other("flusher stopped")))
}
