//! Three control planes as one group, and what can be done to them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use sandbox::{ControlPlane, Door, Place, ReplicaSettings, Replicas, Sandbox, free_port};

use crate::clock::Clock;
use crate::wires::Wires;

/// How long anything may take that must happen; a loaded machine is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Where clients find a replica that runs.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) api: String,
    /// Counts starts of replicas: what was shown before one binds nobody after it.
    pub(crate) life: u64,
}

/// Where clients find the replicas. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    known: Arc<Mutex<BTreeMap<Place, Address>>>,
    lives: Arc<AtomicU64>,
}

impl Addresses {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Address>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Vec<Address> {
        self.lock().values().cloned().collect()
    }

    fn lives(&self, place: Place, api: String) {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(place, Address { api, life });
    }
}

/// The group.
pub(crate) struct Group {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) replicas: Replicas,
    wires: Wires,
    /// How many joined: the place of the next.
    joined: Place,
    /// Those that can be set, when there is a library for that.
    clocks: BTreeMap<Place, Clock>,
    library: Result<PathBuf, String>,
    pub(crate) door: Door,
    pub(crate) addresses: Addresses,
}

impl Group {
    /// A founder and two that joined it, on these wires; their clocks can be set by this library.
    pub(crate) async fn of_three(wires: Wires, library: Result<PathBuf, String>) -> Result<Self> {
        let mut group = Self {
            sandbox: Arc::new(Sandbox::new().await?),
            replicas: Replicas::default(),
            wires,
            joined: 0,
            clocks: BTreeMap::new(),
            library,
            door: Door::open().await?,
            addresses: Addresses::default(),
        };
        for _ in 0..3 {
            group.join().await?;
        }
        Ok(group)
    }

    /// Starts one more with an empty folder and waits until it votes.
    pub(crate) async fn join(&mut self) -> Result<Place> {
        let port = free_port()?;
        let mut variables = self.door.variables();
        variables.extend([
            // A loaded machine may be late.
            ("KUMA_STORE_RAFT_ELECTION_TIMEOUT", "500ms".to_owned()),
            ("KUMA_STORE_RAFT_COMMIT_TIMEOUT", "2s".to_owned()),
            ("KUMA_STORE_RAFT_SNAPSHOT_AFTER_ENTRIES", "60".to_owned()),
            ("KUMA_STORE_RAFT_ENTRIES_KEPT", "10".to_owned()),
        ]);
        let clock = match &self.library {
            Ok(library) => Some(Clock::right(self.sandbox.dir().join(format!("clock-{port}")), library.clone())?),
            Err(_) => None,
        };
        variables.extend(clock.iter().flat_map(Clock::variables));
        let place = self.joined;
        let plug = self.wires.plug(place, port).await?;
        let by: Vec<_> = plug.by.iter().map(String::as_str).collect();
        let settings = ReplicaSettings { variables, addresses: Some(plug.addresses), by: &by };
        let launched = self.replicas.launch(&self.sandbox, settings)?;
        ensure!(launched == place, "places are given in turn");
        self.joined += 1;
        self.clocks.extend(clock.map(|clock| (place, clock)));
        self.is_alive(place).await?;
        self.replicas.until_it_votes(place).await?;
        Ok(place)
    }

    /// The places of all replicas.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.replicas.places()
    }

    /// The control plane in a place.
    pub(crate) fn control_plane(&mut self, place: Place) -> Result<&mut ControlPlane> {
        Ok(&mut self.replicas.at(place)?.control_plane)
    }

    /// Its process was started.
    async fn is_alive(&mut self, place: Place) -> Result<()> {
        let control_plane = &mut self.replicas.at(place)?.control_plane;
        self.wires.starts(place, control_plane).await?;
        self.addresses.lives(place, control_plane.api());
        self.let_proxies_in(&self.places());
        Ok(())
    }

    /// Proxies that look for a control plane find these.
    pub(crate) fn let_proxies_in(&self, places: &[Place]) {
        let open = self.replicas.iter().filter(|(place, _)| places.contains(place));
        self.door.lead_to(open.map(|(_, replica)| replica.control_plane.dp_port()).collect());
    }

    /// The clock of a replica; `Err` is why it cannot be set.
    pub(crate) fn clock(&self, place: Place) -> Result<&Clock, String> {
        self.library.as_ref().map_err(Clone::clone)?;
        self.clocks.get(&place).ok_or_else(|| format!("replica {place} has no clock of its own"))
    }

    /// The place of the leader, as it says.
    pub(crate) async fn leader(&self) -> Result<Place> {
        self.replicas.leader().await
    }

    /// One that does not lead.
    pub(crate) async fn follower(&self) -> Result<Place> {
        self.replicas.followers().await?.first().copied().context("the leader is alone")
    }

    /// Ends a replica at once.
    pub(crate) async fn kill(&mut self, place: Place) -> Result<()> {
        self.wires.ends(place)?;
        self.control_plane(place)?.process().kill().await?;
        Ok(())
    }

    /// Starts a replica again without waiting: alone it may not be ready.
    pub(crate) async fn start(&mut self, place: Place) -> Result<()> {
        self.control_plane(place)?.launch_again()?;
        self.is_alive(place).await
    }

    pub(crate) fn signal(&mut self, place: Place, signal: Signal) -> Result<()> {
        self.control_plane(place)?.process().signal(signal)
    }

    /// Nothing passes from one replica to another.
    pub(crate) fn cut(&self, from: Place, to: Place) -> Result<()> {
        self.wires.cut(from, to)
    }

    /// Everything passes again.
    pub(crate) fn heal(&self) -> Result<()> {
        self.wires.heal()
    }

    /// Has the group changed, through any replica but the one that it concerns.
    pub(crate) async fn change(&self, what: &str, place: Place) -> Result<()> {
        self.replicas.change(what, place).await
    }

    /// Forgets a replica that is gone for ever.
    pub(crate) fn forget(&mut self, place: Place) -> Result<()> {
        self.wires.unplug(place);
        self.addresses.lock().remove(&place);
        self.clocks.remove(&place);
        self.replicas.take(place).map(drop)
    }

    /// Everybody is ready, votes, knows one leader and has what the leader has.
    pub(crate) async fn converged(&mut self) -> Result<()> {
        self.replicas.until_whole().await
    }
}
