//! Three control planes as one group, and what can be done to them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use sandbox::{ControlPlane, ControlPlaneSettings, Sandbox, free_port};
use serde_json::{Value, json};

use crate::relay::{Door, Place, Switchboard};

/// How long anything may take that must happen; a loaded machine is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How long a question may take before nobody knows its answer.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A full disk shows as an error of the write, not as a signal.
const UNDER_LIMITS: [&str; 3] = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];

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

/// One control plane of the group.
struct Replica {
    control_plane: ControlPlane,
    /// The port that the others are told.
    wire: u16,
    id: u64,
}

/// The group.
pub(crate) struct Group {
    pub(crate) sandbox: Arc<Sandbox>,
    replicas: BTreeMap<Place, Replica>,
    next: Place,
    wires: Switchboard,
    /// The folder of the founder, with the token and the certificate.
    founder: Option<PathBuf>,
    pub(crate) door: Door,
    pub(crate) addresses: Addresses,
    http: reqwest::Client,
}

impl Group {
    /// A founder and two that joined it.
    pub(crate) async fn of_three() -> Result<Self> {
        let mut group = Self {
            sandbox: Arc::new(Sandbox::new().await?),
            replicas: BTreeMap::new(),
            next: 0,
            wires: Switchboard::default(),
            founder: None,
            door: Door::open().await?,
            addresses: Addresses::default(),
            http: reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).build()?,
        };
        for _ in 0..3 {
            group.join().await?;
        }
        Ok(group)
    }

    /// Starts one more with an empty folder and waits until it votes.
    pub(crate) async fn join(&mut self) -> Result<Place> {
        let (place, port) = (self.next, free_port()?);
        self.next += 1;
        let wire = self.wires.wire(place, port).await?;
        let name = format!("cp-{place}");
        let mut variables = vec![
            ("KUMA_STORE_RAFT_LISTEN", format!("127.0.0.1:{port}")),
            ("KUMA_STORE_RAFT_ADVERTISE", format!("127.0.0.1:{wire}")),
            // A loaded machine may be late.
            ("KUMA_STORE_RAFT_ELECTION_TIMEOUT", "500ms".to_owned()),
            ("KUMA_STORE_RAFT_COMMIT_TIMEOUT", "2s".to_owned()),
            ("KUMA_STORE_RAFT_SNAPSHOT_AFTER_ENTRIES", "60".to_owned()),
            ("KUMA_STORE_RAFT_ENTRIES_KEPT", "10".to_owned()),
        ];
        match &self.founder {
            None => self.founder = Some(self.sandbox.dir().join(&name)),
            Some(work_dir) => {
                let file = |name: &str| work_dir.join(name).display().to_string();
                let known = self.replicas.values().map(|replica| format!("127.0.0.1:{}", replica.wire));
                variables.push(("KUMA_STORE_RAFT_JOIN", known.collect::<Vec<_>>().join(",")));
                variables.push(("KUMA_STORE_RAFT_JOIN_TOKEN_FILE", file("data/join-token")));
                // Proxies trust one certificate, whichever replica they meet.
                variables.push(("KUMA_GENERAL_TLS_CERT_FILE", file("kuma-cp.crt")));
                variables.push(("KUMA_GENERAL_TLS_KEY_FILE", file("kuma-cp.key")));
            }
        }
        let settings = ControlPlaneSettings { variables };
        let control_plane = ControlPlane::launch(&self.sandbox, &name, settings, &UNDER_LIMITS)?;
        self.replicas.insert(place, Replica { control_plane, wire, id: 0 });
        self.is_alive(place)?;
        self.ready(place).await?;
        let id = self.status(place).await?["id"].as_u64().context("no id")?;
        self.replica(place)?.id = id;
        let votes = |status: &Value| role(status, id).is_some_and(|role| role != "learner");
        self.until(place, "the new replica votes", votes).await?;
        Ok(place)
    }

    /// The places of all replicas.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.replicas.keys().copied().collect()
    }

    fn replica(&mut self, place: Place) -> Result<&mut Replica> {
        self.replicas.get_mut(&place).with_context(|| format!("there is no replica {place}"))
    }

    /// The control plane in a place.
    pub(crate) fn control_plane(&mut self, place: Place) -> Result<&mut ControlPlane> {
        Ok(&mut self.replica(place)?.control_plane)
    }

    /// Its process was started.
    fn is_alive(&mut self, place: Place) -> Result<()> {
        let control_plane = self.control_plane(place)?;
        let (process, api) = (control_plane.process().id(), control_plane.api());
        self.wires.runs(place, process);
        self.addresses.lives(place, api);
        self.door.lead_to(self.replicas.values().map(|replica| replica.control_plane.dp_port()).collect());
        Ok(())
    }

    async fn ready(&mut self, place: Place) -> Result<()> {
        self.control_plane(place)?.ready(PATIENCE).await
    }

    async fn status(&mut self, place: Place) -> Result<Value> {
        let url = format!("{}/raft", self.control_plane(place)?.api());
        let answer = self.http.get(url).send().await?.error_for_status()?;
        serde_json::from_str(&answer.text().await?).context("a status is JSON")
    }

    /// Waits until the status of a replica is as wanted.
    pub(crate) async fn until(&mut self, place: Place, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            match self.status(place).await {
                Ok(status) if wanted(&status) => return Ok(status),
                last if tokio::time::Instant::now() > deadline => {
                    let log = self.control_plane(place)?.process().log_tail();
                    bail!("replica {place}: not within {PATIENCE:?}: {what}: {last:?}; the end of its log:\n{log}")
                }
                _ => {}
            }
        }
    }

    /// The place of the leader, as most see it.
    pub(crate) async fn leader(&mut self) -> Result<Place> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            for place in self.places() {
                if self.status(place).await.is_ok_and(|status| status["role"] == "leader") {
                    return Ok(place);
                }
            }
            ensure!(tokio::time::Instant::now() < deadline, "nobody leads within {PATIENCE:?}");
        }
    }

    /// One that does not lead.
    pub(crate) async fn follower(&mut self) -> Result<Place> {
        let leader = self.leader().await?;
        self.places().into_iter().find(|place| *place != leader).context("the leader is alone")
    }

    /// Ends a replica at once.
    pub(crate) async fn kill(&mut self, place: Place) -> Result<()> {
        self.control_plane(place)?.process().kill().await?;
        Ok(())
    }

    /// Starts a replica again without waiting: alone it may not be ready.
    pub(crate) fn start(&mut self, place: Place) -> Result<()> {
        self.control_plane(place)?.launch_again()?;
        self.is_alive(place)
    }

    pub(crate) fn signal(&mut self, place: Place, signal: Signal) -> Result<()> {
        self.control_plane(place)?.process().signal(signal)
    }

    /// Nothing passes from one replica to another.
    pub(crate) fn cut(&self, from: Place, to: Place) {
        self.wires.cut(from, to);
    }

    /// Everything passes again.
    pub(crate) fn heal(&self) {
        self.wires.heal();
    }

    /// Has the group changed, through any replica but the one that it concerns.
    pub(crate) async fn change(&mut self, what: &str, place: Place) -> Result<()> {
        let id = self.replica(place)?.id;
        let others: Vec<_> = self.places().into_iter().filter(|other| *other != place).collect();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut tries = tokio::time::interval(Duration::from_millis(100));
        loop {
            tries.tick().await;
            for other in &others {
                let url = format!("{}/raft/{what}", self.control_plane(*other)?.api());
                let last = match self.http.post(url).json(&json!({ "id": id })).send().await {
                    Ok(answer) if answer.status().is_success() => return Ok(()),
                    Ok(answer) => answer.text().await?,
                    Err(error) => error.to_string(),
                };
                // The one before had an unknown outcome, and was made.
                if last.contains("there is no replica") {
                    return Ok(());
                }
                ensure!(tokio::time::Instant::now() < deadline, "{what} {place}: not within {PATIENCE:?}: {last}");
            }
        }
    }

    /// Forgets a replica that is gone for ever.
    pub(crate) fn forget(&mut self, place: Place) {
        self.wires.runs(place, None);
        self.replicas.remove(&place);
        self.addresses.lock().remove(&place);
    }

    /// Everybody is ready, knows one leader and has what the leader has.
    pub(crate) async fn converged(&mut self) -> Result<()> {
        for place in self.places() {
            self.ready(place).await?;
        }
        let leader = self.leader().await?;
        let revision = self.status(leader).await?["revision"].as_u64().context("no revision")?;
        for place in self.places() {
            let caught_up = |status: &Value| {
                status["leader"].is_u64() && status["revision"].as_u64().is_some_and(|own| own >= revision)
            };
            self.until(place, "it has what the leader had", caught_up).await?;
        }
        Ok(())
    }
}

/// What a replica is in its group.
fn role(status: &Value, id: u64) -> Option<&str> {
    let replicas = status["replicas"].as_array()?;
    replicas.iter().find(|replica| replica["id"] == id)?["role"].as_str()
}
