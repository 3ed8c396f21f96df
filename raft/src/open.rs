//! From settings to a running replica.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use store::Store;
use tokio::sync::watch;

use crate::certificates::Certificates;
use crate::data_dir::{DataDir, random_id};
use crate::errors::OpenError;
use crate::flusher::Flusher;
use crate::founding::{self, Step};
use crate::join;
use crate::keys::Keys;
use crate::latency::Latency;
use crate::leadership::Watches;
use crate::listener::Listener;
use crate::log::{LogBackend, LogStore};
use crate::network::Network;
use crate::pki::Pki;
use crate::proposer::Proposer;
use crate::rpc::Welcome;
use crate::seal::Keyring;
use crate::settings::{Join, Settings};
use crate::snapshot::SnapshotDir;
use crate::standing_again::Granted;
use crate::state_machine::StateMachine;
use crate::store_impl::Inner;
use crate::types::{Raft, Replica, ReplicaId};
use crate::vitals::Heard;
use crate::wal::Wal;
use crate::{RaftStore, leadership, proposer, silence, standing_again};

/// How long a group of one may take from opening to leading, or a new replica to catch up.
const READY_WAIT: Duration = Duration::from_secs(60);

/// What was read from the data directory, before anything runs.
pub(crate) struct Disk {
    pub(crate) dir: DataDir,
    pub(crate) id: ReplicaId,
    pub(crate) keys: Keys,
    pki: Option<Pki>,
    pub(crate) snapshots: SnapshotDir,
    pub(crate) log: LogStore,
    pub(crate) machine: StateMachine,
    pub(crate) feed: Arc<store::Feed>,
    fsync: Latency,
    pristine: bool,
}

impl RaftStore {
    /// Opens the replica in `settings.data_dir`. A new directory founds a group of one or joins a
    /// group. It returns when the replica serves: alone, when it leads and has applied its whole
    /// log; as a new one, when it has caught up; any other, when it is up and looks for its group.
    ///
    /// # Errors
    /// Each says what the operator can do.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        let config = Arc::new(settings.openraft()?);
        let start = |error: &dyn std::fmt::Display| OpenError::Start(error.to_string());
        let (dir, arrival) = settle(&settings).await?;
        let (key_file, listens) = (settings.key_file.clone(), settings.listen.is_some());
        let (taken, reads) = (arrival.clone(), settings.reads_format);
        let disk = blocking(move || read_disk(dir, key_file.as_deref(), &taken, listens, None)).await?;
        let (listener, address) = bind(settings.listen.filter(|_| disk.pki.is_some()), &settings.advertise).await?;
        let certificates = disk.pki.clone().map(|pki| Certificates::new(pki, disk.id, settings.certificate_renewal));
        let certificates = certificates.transpose().map_err(|e| start(&e))?;
        let peers = certificates.as_ref().map(Certificates::peers);
        let removed = disk.machine.removed();
        let announcer = disk.log.announcer();
        let network = Network { own: disk.id, peers: peers.clone(), announcer: announcer.clone() };
        let raft =
            Raft::new(disk.id, config, network, disk.log, disk.machine.reading(reads)).await.map_err(|e| start(&e))?;
        let ((stop, stopped), commit) = (watch::channel(false), Latency::new("raft_commit_seconds"));
        let Watches { leadership, contact } = leadership::start(&raft, settings.silence(), announcer);
        let proposer = Proposer {
            raft: raft.clone(),
            timeout: settings.commit_timeout,
            latency: commit.clone(),
            clock: Arc::new(Timestamp::now),
            contact: contact.clone(),
        };
        let store = Self::new(Inner {
            id: disk.id,
            address: address.clone(),
            leadership,
            contact,
            granted: Granted::default(),
            queue: proposer::start(proposer),
            raft,
            feed: disk.feed,
            keys: disk.keys,
            pki: disk.pki,
            peers,
            certificates,
            commit,
            fsync: disk.fsync,
            timeout: settings.commit_timeout,
            leader_wait: settings.leader_wait(),
            removed,
            heard: Heard::default(),
            reads_format: settings.reads_format,
            expelled: watch::Sender::new(None),
            changing: tokio::sync::Mutex::default(),
            proposing: tokio::sync::RwLock::default(),
            stood: std::sync::atomic::AtomicU32::default(),
            stop,
            dir: disk.dir,
        });
        if let Some(listener) = listener {
            store.serve(listener, &stopped)?;
        }
        store.begin_duties(&settings, &stopped);
        if let Err(error) = store.arrive(&arrival, settings.peers.is_some(), disk.pristine).await {
            store.shutdown().await;
            return Err(error);
        }
        if !address.is_empty() {
            store.spawn(stopped, store.clone().announce_address(address));
        }
        Ok(store)
    }

    /// Founds a group, finds its own again, or joins one.
    async fn arrive(&self, arrival: &Arrival, replaces: bool, pristine: bool) -> Result<(), OpenError> {
        let inner = self.inner();
        match (self.dir().admitted(), &arrival.join, &arrival.welcome, &inner.peers) {
            (true, ..) => self.found_or_resume(pristine, &inner.address).await,
            (false, Some(wanted), Some(welcome), Some(peers)) => {
                join::enter(peers, welcome, wanted, inner.id, &inner.address, replaces).await?;
                let others = welcome.addresses.iter().chain(&wanted.addresses).filter(|other| **other != inner.address);
                let again = Join { addresses: others.cloned().collect(), token: wanted.token.clone() };
                self.believe(&join::knock(&again).await?)?;
                self.catch_up().await?;
                Ok(self.dir().admit()?)
            }
            _ => {
                let what = "this replica has not finished joining: start it with the group to join and a listener";
                Err(OpenError::Settings(what.to_owned()))
            }
        }
    }

    /// Believes what the group believes since this replica is in it. The authority may have been
    /// replaced, or that been begun with, after it was told at the door; from now on it is told.
    fn believe(&self, welcome: &Welcome) -> Result<(), OpenError> {
        let Some((pki, certificates)) = self.pki().zip(self.certificates()) else { return Ok(()) };
        let is_usable = pki.adopt(&welcome.pki, &self.dir().pki()).map_err(|e| OpenError::Start(e.to_string()))?;
        if !is_usable {
            return Err(unusable_authority());
        }
        certificates.present(self).map_err(OpenError::Start)
    }

    /// Answers other replicas, until it stops.
    fn serve(&self, listener: Listener, stopped: &watch::Receiver<bool>) -> Result<(), OpenError> {
        let Some(certificates) = self.certificates() else { return Ok(()) };
        certificates.present(self).map_err(OpenError::Start)?;
        let trust = certificates.trust();
        if trust.is_between() {
            tracing::warn!(?trust, "the authority of the replicas is only half replaced: order it once more");
        }
        listener.serve(certificates.doors(), stopped.clone());
        self.spawn(stopped.clone(), certificates.clone().renew(self.clone()));
        Ok(())
    }

    /// What it does beside answering, until it stops.
    fn begin_duties(&self, settings: &Settings, stopped: &watch::Receiver<bool>) {
        self.begin_standing(settings, stopped);
        self.spawn(stopped.clone(), self.clone().promote_learners());
        self.spawn(stopped.clone(), self.clone().remember_removed());
        self.spawn(stopped.clone(), self.clone().obey_removal());
        self.spawn(stopped.clone(), self.clone().keep_in_touch());
    }

    /// When it stands for election where openraft would wait.
    fn begin_standing(&self, settings: &Settings, stopped: &watch::Receiver<bool>) {
        self.spawn(stopped.clone(), self.clone().give_up_when_cut_off());
        let silence = silence::stand_after(self.raft().clone(), self.id(), settings.election_max());
        self.spawn(stopped.clone(), silence);
        let (granted, lease) = (self.inner().granted.clone(), settings.election_timeout_max);
        let store = self.clone();
        let hands_over = move || store.proposing().try_read().is_err();
        let standing = standing_again::whenever_deposed(self.raft().clone(), granted, lease, hands_over);
        self.spawn(stopped.clone(), standing);
    }

    async fn found_or_resume(&self, pristine: bool, address: &str) -> Result<(), OpenError> {
        if pristine {
            let group = BTreeMap::from([(self.id(), Replica { address: address.to_owned() })]);
            self.raft().initialize(group).await.map_err(|e| OpenError::Start(e.to_string()))?;
        }
        // From the core itself: the metrics may not tell yet.
        let voters =
            self.raft().with_raft_state(|state| state.membership_state.effective().voter_ids().collect::<Vec<_>>());
        if voters.await.map_err(|e| OpenError::Start(e.to_string()))? != [self.id()] {
            return Ok(());
        }
        // Nobody else can be elected, so nothing is worth waiting for.
        self.raft().trigger().elect().await.map_err(|e| OpenError::Start(e.to_string()))?;
        let mut leadership = self.leadership();
        match tokio::time::timeout(READY_WAIT, leadership.wait_for(|now| now.leads)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(OpenError::Start(self.fault())),
            Err(_) => Err(OpenError::Start(format!("not leading after {} s", READY_WAIT.as_secs()))),
        }
    }

    /// Waits until this replica has applied what the group had committed when it was admitted.
    async fn catch_up(&self) -> Result<(), OpenError> {
        let start = std::time::Instant::now();
        loop {
            match self.consistent().await {
                Ok(_) => return Ok(()),
                Err(error) if start.elapsed() > READY_WAIT => return Err(OpenError::Start(error.to_string())),
                Err(_) => {}
            }
        }
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| OpenError::Start(e.to_string()))?
}

/// The listener, and where others reach it; neither without an address to listen at.
async fn bind(listen: Option<SocketAddr>, advertise: &Option<String>) -> Result<(Option<Listener>, String), OpenError> {
    let Some(listen) = listen else { return Ok((None, String::new())) };
    let failed = |e: std::io::Error| OpenError::Settings(format!("replica listener {listen}: {e}"));
    let listener = Listener::bind(listen).await.map_err(failed)?;
    let address = match advertise {
        Some(address) => address.clone(),
        None => listener.address().map_err(failed)?.to_string(),
    };
    Ok((Some(listener), address))
}

/// How a replica comes into its group; nothing of it for one that is there already.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arrival {
    /// The group that it joins.
    join: Option<Join>,
    /// What that group gave it.
    welcome: Option<Welcome>,
    /// The authority of the group that it founds with its peers.
    founds: Option<Pki>,
}

/// Locks the directory, and asks the group in when the directory is new and joins one.
async fn settle(settings: &Settings) -> Result<(DataDir, Arrival), OpenError> {
    let path = settings.data_dir.clone();
    let dir = blocking(move || DataDir::open(&path)).await?;
    if let Some(id) = dir.id().filter(|_| dir.expelled()) {
        return Err(OpenError::Removed { path: dir.path().to_owned(), id });
    }
    let mut arrival = Arrival { join: settings.join.clone(), ..Arrival::default() };
    if let Some(peers) = settings.peers.as_ref().filter(|_| !dir.admitted()) {
        let pki = Pki::of_shared_secret(peers.secret.trim()).map_err(|e| OpenError::Start(e.to_string()))?;
        // One that has begun to join goes on with that.
        let step = if dir.joined() { Step::Join } else { founding::gather(settings, peers, &pki).await? };
        if step == Step::Join {
            let token = settings.join.as_ref().map_or_else(|| pki.token(), |join| join.token.clone());
            arrival.join = Some(Join { addresses: founding::others(peers)?, token });
        } else {
            arrival = Arrival { founds: Some(pki), ..Arrival::default() };
        }
    }
    match &arrival.join {
        Some(_) if settings.listen.is_none() => {
            return Err(OpenError::Settings("joining a group needs a replica listener".to_owned()));
        }
        Some(wanted) if !dir.admitted() => arrival.welcome = Some(join::knock(wanted).await?),
        _ => {}
    }
    Ok((dir, arrival))
}

/// Reads what is in the directory. A new one gets its identity, unless `provisional` stands in
/// for it.
pub(crate) fn read_disk(
    mut dir: DataDir,
    key_file: Option<&Path>,
    arrival: &Arrival,
    listens: bool,
    provisional: Option<ReplicaId>,
) -> Result<Disk, OpenError> {
    let path = dir.path().to_owned();
    let failed = |file: &Path| {
        let (path, file) = (path.clone(), file.to_owned());
        move |error| OpenError::of(&path, &file, error)
    };
    let key_path = key_file.map_or_else(|| dir.keys(), Path::to_owned);
    let keys = read_keys(&dir, &key_path, arrival.welcome.as_ref())?;
    let pki = read_pki(&dir, arrival, listens)?;
    let id = match dir.id().or(provisional) {
        Some(id) => id,
        None => {
            let id = random_id();
            dir.initialise(id, arrival.welcome.is_some())?;
            id
        }
    };
    let fsync = Latency::new("raft_fsync_seconds");
    let log_dir = dir.log();
    let backend: Arc<dyn LogBackend> = Arc::new(Wal::open(&log_dir).map_err(failed(&log_dir))?);
    let flusher = Flusher::start(Arc::clone(&backend), fsync.clone()).map_err(failed(&log_dir))?;
    let log = LogStore::open(backend, flusher).map_err(failed(&log_dir))?;
    let snapshot_dir = dir.snapshots();
    let snapshots = SnapshotDir::open(snapshot_dir.clone()).map_err(failed(&snapshot_dir))?;
    let (machine, feed) = StateMachine::open(snapshots.clone(), keys.clone()).map_err(failed(&snapshot_dir))?;
    let log = log.covered_by(machine.covered());
    let removed = dir.removed();
    machine.removed().load(&removed).map_err(failed(&removed))?;
    if log.purged().map_err(failed(&log_dir))? > machine.applied() {
        return Err(OpenError::Corrupted { path, detail: "the snapshot that the log continues is missing".to_owned() });
    }
    let pristine = log.is_pristine().map_err(failed(&log_dir))?;
    Ok(Disk { dir, id, keys, pki, snapshots, log, machine, feed, fsync, pristine })
}

/// The keys: those of the group that is joined, those of the file, or new ones for a new directory.
/// Never new ones for an old directory: its secrets could not be opened any more.
pub(crate) fn read_keys(dir: &DataDir, path: &Path, welcome: Option<&Welcome>) -> Result<Keys, OpenError> {
    let failed = |error| OpenError::of(dir.path(), path, error);
    if let Some(welcome) = welcome {
        let mut ring = Keyring::default();
        for (id, key) in &welcome.keys {
            ring.insert(*id, *key);
        }
        ring.activate(welcome.active);
        return Keys::create(path, ring).map_err(failed);
    }
    if let Some(keys) = Keys::load(path).map_err(failed)? {
        return Ok(keys);
    }
    if dir.id().is_some() {
        return Err(OpenError::KeyLost {
            path: dir.path().to_owned(),
            detail: format!("there is no file {}", path.display()),
        });
    }
    Keys::create(path, Keyring::generate()).map_err(failed)
}

fn unusable_authority() -> OpenError {
    OpenError::Start("the group sent no usable certificate authority".to_owned())
}

fn read_pki(dir: &DataDir, arrival: &Arrival, listens: bool) -> Result<Option<Pki>, OpenError> {
    let path = dir.pki();
    let failed = |error| OpenError::of(dir.path(), &path, error);
    if let Some(welcome) = &arrival.welcome {
        let pki = Pki::parse(&welcome.pki).ok_or_else(unusable_authority)?;
        pki.save(&path).map_err(failed)?;
        return Ok(Some(pki));
    }
    if let Some(pki) = Pki::load(&path).map_err(failed)? {
        return Ok(Some(pki));
    }
    if !listens {
        return Ok(None);
    }
    if dir.joined() {
        let detail = format!("{} is missing", path.display());
        return Err(OpenError::Corrupted { path: dir.path().to_owned(), detail });
    }
    let pki = match &arrival.founds {
        Some(pki) => pki.clone(),
        None => Pki::generate().map_err(|e| OpenError::Start(e.to_string()))?,
    };
    pki.save(&path).map_err(failed)?;
    Ok(Some(pki))
}
