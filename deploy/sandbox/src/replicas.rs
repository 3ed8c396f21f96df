//! Control planes as one group: the first founds it, the others join it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::Sandbox;
use crate::control_plane::{ControlPlane, ControlPlaneSettings};
use crate::ports::free_port;

/// How long anything may take that must happen; a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// A replica, by its place in the group. A place is never given twice.
pub type Place = usize;

/// What a replica is started with, beside what makes it one of its group.
#[derive(Clone, Debug, Default)]
pub struct ReplicaSettings<'a> {
    /// Further variables.
    pub variables: Vec<(&'static str, String)>,
    /// Where it listens for the others, and what they are told; a free port of loopback when there is none.
    pub addresses: Option<[String; 2]>,
    /// A program with its arguments that starts it.
    pub by: &'a [&'a str],
}

/// One control plane of a group.
#[derive(Debug)]
pub struct Replica {
    /// Its process.
    pub control_plane: ControlPlane,
    /// Its identity in the group; zero until it is in.
    pub id: u64,
    /// Where the others are told to reach it.
    pub address: String,
}

/// A group of control planes with one certificate, so that a proxy trusts each of them.
#[derive(Debug, Default)]
pub struct Replicas {
    all: BTreeMap<Place, Replica>,
    next: Place,
    /// The folder of the founder, with the token and the certificate.
    founder: Option<PathBuf>,
}

impl Replicas {
    /// A founder and two that joined it, which all vote; with further variables for all.
    ///
    /// # Errors
    /// When they do not come up.
    pub async fn of_three(sandbox: &Sandbox, variables: &[(&'static str, String)]) -> Result<Self> {
        let mut group = Self::default();
        for _ in 0..3 {
            let settings = ReplicaSettings { variables: variables.to_vec(), ..ReplicaSettings::default() };
            let place = group.launch(sandbox, settings)?;
            group.until_it_votes(place).await?;
        }
        group.until_whole().await?;
        Ok(group)
    }

    /// Starts one more with an empty folder, without waiting.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&mut self, sandbox: &Sandbox, settings: ReplicaSettings<'_>) -> Result<Place> {
        let place = self.next;
        self.next += 1;
        let name = format!("cp-{place}");
        let [listens, address] = match settings.addresses {
            Some(addresses) => addresses,
            None => [free_port()?; 2].map(|port| format!("127.0.0.1:{port}")),
        };
        let mut variables = vec![("KUMA_STORE_RAFT_LISTEN", listens), ("KUMA_STORE_RAFT_ADVERTISE", address.clone())];
        match &self.founder {
            None => self.founder = Some(sandbox.dir().join(&name)),
            Some(work_dir) => {
                let file = |name: &str| work_dir.join(name).display().to_string();
                let known: Vec<_> = self.all.values().map(|replica| replica.address.as_str()).collect();
                variables.push(("KUMA_STORE_RAFT_JOIN", known.join(",")));
                variables.push(("KUMA_STORE_RAFT_JOIN_TOKEN_FILE", file("data/join-token")));
                variables.push(("KUMA_GENERAL_TLS_CERT_FILE", file("kuma-cp.crt")));
                variables.push(("KUMA_GENERAL_TLS_KEY_FILE", file("kuma-cp.key")));
            }
        }
        variables.extend(settings.variables);
        let settings_of_it = ControlPlaneSettings { variables };
        let control_plane = ControlPlane::launch(sandbox, &name, settings_of_it, settings.by)?;
        self.all.insert(place, Replica { control_plane, id: 0, address });
        Ok(place)
    }

    /// Waits until a replica that was launched is ready and votes.
    ///
    /// # Errors
    /// When it does not.
    pub async fn until_it_votes(&mut self, place: Place) -> Result<()> {
        self.ready(place).await?;
        let id = self.get(place)?.control_plane.get("/raft").await?["id"].as_u64().context("no id")?;
        self.at(place)?.id = id;
        self.until(place, "it votes", |status| role(status, id).is_some_and(|role| role != "learner")).await?;
        Ok(())
    }

    /// Waits until a replica is ready.
    ///
    /// # Errors
    /// When it does not become so.
    pub async fn ready(&mut self, place: Place) -> Result<()> {
        self.at(place)?.control_plane.ready(PATIENCE).await
    }

    /// The places of all replicas, the oldest first.
    pub fn places(&self) -> Vec<Place> {
        self.all.keys().copied().collect()
    }

    /// All replicas with their places, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &Replica)> {
        self.all.iter().map(|(place, replica)| (*place, replica))
    }

    /// The replica in a place.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, place: Place) -> Result<&Replica> {
        self.all.get(&place).with_context(|| format!("there is no replica {place}"))
    }

    /// The same, to change it.
    ///
    /// # Errors
    /// When there is none.
    pub fn at(&mut self, place: Place) -> Result<&mut Replica> {
        self.all.get_mut(&place).with_context(|| format!("there is no replica {place}"))
    }

    /// Takes a replica out of this list; its process is the caller's.
    ///
    /// # Errors
    /// When there is none.
    pub fn take(&mut self, place: Place) -> Result<Replica> {
        self.all.remove(&place).with_context(|| format!("there is no replica {place}"))
    }

    /// Waits until the status of a replica is as wanted.
    ///
    /// # Errors
    /// When it does not become so, with the end of its log.
    pub async fn until(&mut self, place: Place, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let replica = self.at(place)?;
        replica.control_plane.until("/raft", PATIENCE, wanted).await.with_context(|| {
            let log = replica.control_plane.process().log_tail();
            format!("replica {place}: {what}: not within {PATIENCE:?}; the end of its log:\n{log}")
        })
    }

    /// The place of one that says that it leads.
    ///
    /// # Errors
    /// When nobody does for long.
    pub async fn leader(&self) -> Result<Place> {
        self.leader_among(&self.places()).await
    }

    /// The same of some of them: one that is cut off may not know that it leads no more.
    ///
    /// # Errors
    /// When nobody does for long.
    pub async fn leader_among(&self, places: &[Place]) -> Result<Place> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            for (place, replica) in self.iter().filter(|(place, _)| places.contains(place)) {
                if replica.control_plane.get("/raft").await.is_ok_and(|status| status["role"] == "leader") {
                    return Ok(place);
                }
            }
            ensure!(tokio::time::Instant::now() < deadline, "nobody leads within {PATIENCE:?}");
        }
    }

    /// The places of those that do not lead.
    ///
    /// # Errors
    /// When nobody leads for long.
    pub async fn followers(&self) -> Result<Vec<Place>> {
        let leader = self.leader().await?;
        Ok(self.places().into_iter().filter(|place| *place != leader).collect())
    }

    /// Waits until everybody is ready, votes, knows one leader and has what the leader has.
    ///
    /// # Errors
    /// When that does not come to be.
    pub async fn until_whole(&mut self) -> Result<()> {
        let places = self.places();
        for place in &places {
            self.ready(*place).await?;
        }
        let leader = self.leader().await?;
        let newest = self.get(leader)?.control_plane.get("/raft").await?["revision"].as_u64();
        let newest = newest.context("no revision")?;
        for place in &places {
            let is_whole = |status: &Value| {
                let revision = status["revision"].as_u64();
                voters(status) == places.len() && status["leader"].is_u64() && revision.is_some_and(|own| own >= newest)
            };
            self.until(*place, "it has what the leader had, and all vote", is_whole).await?;
        }
        Ok(())
    }

    /// Has the group changed (`remove`, `promote`, `handover`), asking any replica but the one that it
    /// concerns, until one says that it is done.
    ///
    /// # Errors
    /// When nobody does it for long; with the last answer.
    pub async fn change(&self, what: &str, place: Place) -> Result<()> {
        let id = self.get(place)?.id;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut tries = tokio::time::interval(Duration::from_millis(100));
        loop {
            tries.tick().await;
            for (_, other) in self.iter().filter(|(other, _)| *other != place) {
                let done = other.control_plane.post(&format!("/raft/{what}"), &json!({ "id": id })).await;
                let Err(last) = done else { return Ok(()) };
                // The one before had an unknown outcome, and was made.
                if format!("{last:#}").contains("there is no replica") {
                    return Ok(());
                }
                if tokio::time::Instant::now() > deadline {
                    bail!("{what} {place}: not within {PATIENCE:?}: {last:#}");
                }
            }
        }
    }
}

/// How many replicas vote, as the status of one tells.
pub fn voters(status: &Value) -> usize {
    let replicas = status["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
    replicas.iter().filter(|replica| replica["role"] != "learner").count()
}

/// What a replica is in its group.
fn role(status: &Value, id: u64) -> Option<&str> {
    let replicas = status["replicas"].as_array()?;
    replicas.iter().find(|replica| replica["id"] == id)?["role"].as_str()
}
