//! Stores in temporary directories, alone and in groups.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use raft::{Join, RaftStore, ReplicaId, Role, Settings, Status};
use store::{CommitError, Committed, Revision, Store, Txn};
use store_conformance::fixture::canonical;
use tempfile::TempDir;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Settings of a replica alone. A loaded machine may take long over a write.
pub(crate) fn alone(dir: &Path) -> Settings {
    Settings { commit_timeout: PATIENCE, ..Settings::new(dir) }
}

/// Opens the replica in `dir`.
pub(crate) async fn open_in(dir: &Path) -> RaftStore {
    RaftStore::open(alone(dir)).await.expect("the directory is usable")
}

/// An empty group of one.
pub(crate) async fn open() -> (RaftStore, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    (open_in(dir.path()).await, dir)
}

/// Settings of a replica with a listener, in a group whose leadership does not move by itself: no
/// disk and no scheduler stalls for longer than this.
pub(crate) fn listening(dir: &Path) -> Settings {
    Settings {
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        heartbeat: Duration::from_millis(100),
        election_timeout_min: PATIENCE,
        election_timeout_max: PATIENCE * 2,
        ..alone(dir)
    }
}

/// The same for groups that lose their leader. Under load it may move at any time, so their tests
/// write with [`surely`].
pub(crate) fn electing(dir: &Path) -> Settings {
    Settings {
        election_timeout_min: Duration::from_millis(600),
        election_timeout_max: Duration::from_millis(1000),
        ..listening(dir)
    }
}

/// Writes until it is acknowledged: leaders may come and go meanwhile, so it may be written twice.
pub(crate) async fn surely(store: &RaftStore, txn: Txn) -> Committed {
    let txn = canonical(txn);
    let acknowledged = async {
        loop {
            match store.commit(txn.clone()).await {
                Ok(committed) => return committed,
                Err(CommitError::NoLeader { .. } | CommitError::Unknown) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, acknowledged).await.expect("an acknowledgement")
}

/// A group of replicas in this process.
pub(crate) struct Group {
    pub(crate) replicas: Vec<(RaftStore, TempDir)>,
    pub(crate) settings: fn(&Path) -> Settings,
}

impl Group {
    /// A group of `count`, which all vote (up to five).
    pub(crate) async fn of(count: usize) -> Self {
        Self::with(count, listening).await
    }

    /// The same with other settings.
    pub(crate) async fn with(count: usize, settings: fn(&Path) -> Settings) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = RaftStore::open(settings(dir.path())).await.expect("the first replica opens");
        let mut group = Self::founded_by(first, dir, settings);
        for _ in 1..count {
            group.join().await;
        }
        group
    }

    /// A group of one.
    pub(crate) fn founded_by(store: RaftStore, dir: TempDir, settings: fn(&Path) -> Settings) -> Self {
        Self { replicas: vec![(store, dir)], settings }
    }

    /// What a new replica needs to join.
    pub(crate) fn invitation(&self) -> Join {
        Join {
            addresses: self.replicas.iter().map(|(store, _)| store.address().to_owned()).collect(),
            token: self.replicas[0].0.join_token().expect("there is a listener"),
        }
    }

    /// Adds one more and waits until it votes, unless five do.
    pub(crate) async fn join(&mut self) -> ReplicaId {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let settings = Settings { join: Some(self.invitation()), ..(self.settings)(dir.path()) };
        let store = RaftStore::open(settings).await.expect("the replica joins");
        let id = store.status().id;
        self.replicas.push((store, dir));
        let votes = self.replicas.len().min(5);
        self.until(|status| status.members.iter().filter(|m| m.voter).count() >= votes).await;
        id
    }

    /// Waits until every replica's status is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Status) -> bool) {
        for (store, _) in &self.replicas {
            until(store, &wanted).await;
        }
    }

    /// The replica that leads.
    pub(crate) async fn leader(&self) -> &RaftStore {
        let leads = self.replicas.iter().map(|(store, _)| {
            Box::pin(async move {
                let mut leadership = store.leadership();
                leadership.wait_for(|now| now.leads).await.expect("the replica runs");
                store
            })
        });
        let (leader, ..) = tokio::time::timeout(PATIENCE, futures::future::select_all(leads)).await.expect("a leader");
        leader
    }

    /// One that does not lead.
    pub(crate) async fn follower(&self) -> &RaftStore {
        let leader = self.leader().await.status().id;
        let other = self.replicas.iter().find(|(store, _)| store.status().id != leader);
        &other.expect("more than one replica").0
    }
}

/// Waits until the status of a replica is as wanted.
pub(crate) async fn until(store: &RaftStore, wanted: impl Fn(&Status) -> bool) {
    let reached = async {
        // The status has no feed of its own; looking often enough is all a test needs.
        while !wanted(&store.status()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, reached).await.is_err() {
        panic!("not reached: {:#?}", store.status());
    }
}

/// Waits until a replica has applied a revision.
pub(crate) async fn applied(store: &RaftStore, revision: Revision) {
    until(store, |status| status.revision >= revision).await;
}

/// Whether it leads.
pub(crate) fn leads(status: &Status) -> bool {
    status.role == Role::Leader
}
