//! What replicas tell each other of themselves: how they do, what they can read, who was removed.
//!
//! Each asks all others every few seconds and tells its own in the question. The text is JSON, so
//! that a version may tell more than another one knows. The control plane adds a note of its own,
//! which this crate passes on unread.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::RaftStore;
use crate::absent::Absent;
use crate::authority_rotation::is_of_another_authority;
use crate::codec::FORMAT_OLDEST;
use crate::latency::Percentiles;
use crate::peers::CallError;
use crate::pki::{Pki, Trust};
use crate::questions::Questions;
use crate::rpc::{Reply, Request};
use crate::status::Role;
use crate::types::ReplicaId;

/// How often every other replica is asked.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long one may take to answer.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(1);

/// How one replica does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Vitals {
    /// Its identity.
    pub id: ReplicaId,
    /// The newest format of records that it reads.
    pub reads_format: u8,
    /// The term that it knows.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<ReplicaId>,
    /// It was elected in this term, but no majority answers it.
    pub is_cut_off: bool,
    /// The revision of its state.
    pub revision: u64,
    /// Index of the last entry that it has applied.
    pub applied_index: u64,
    /// How long entries take from proposal to application; only a leader measures it.
    pub commit: Percentiles,
    /// How long its disk takes to sync the log.
    pub fsync: Percentiles,
    /// Generation of the join secret that it holds.
    pub join_secret: u64,
    /// Whose certificates it shows and trusts; empty from one that reads no format but the first two.
    pub trust: Trust,
    /// Who was removed from the group, as far as it knows.
    pub removed: Vec<ReplicaId>,
    /// What the control plane tells of itself, see [`RaftStore::set_note`].
    pub note: serde_json::Value,
}

/// One replica of the group, and how it does as far as it answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulse {
    /// Its identity.
    pub id: ReplicaId,
    /// Where it is reached.
    pub address: String,
    /// What it told just now; or why it did not answer.
    pub vitals: Result<Vitals, String>,
}

/// What the others told last.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    others: Mutex<BTreeMap<ReplicaId, (Instant, Vitals)>>,
    note: Mutex<serde_json::Value>,
    pub(crate) questions: Questions,
}

impl Heard {
    fn keep(&self, vitals: Vitals) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.insert(vitals.id, (Instant::now(), vitals));
    }

    fn last(&self, id: ReplicaId) -> Option<(Instant, Vitals)> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

impl RaftStore {
    /// What this replica tells the others for the control plane that it is part of, from now on.
    pub fn set_note(&self, note: serde_json::Value) {
        *self.heard().note.lock().unwrap_or_else(PoisonError::into_inner) = note;
    }

    /// How this replica does.
    pub fn vitals(&self) -> Vitals {
        let status = self.status();
        Vitals {
            id: status.id,
            reads_format: self.reads_format(),
            term: status.term,
            leader: status.leader,
            is_cut_off: self.inner().contact.borrow().is_cut_off,
            revision: status.revision.0,
            applied_index: status.applied_index,
            commit: status.commit,
            fsync: status.fsync,
            join_secret: self.pki().map_or(0, |pki| pki.generation()),
            trust: self.pki().map(Pki::trust).unwrap_or_default(),
            removed: self.removed().all(),
            note: self.heard().note.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Asks every replica of the group how it does. One that does not answer within a second is
    /// told as such.
    pub async fn pulses(&self) -> Vec<Pulse> {
        let asked = self.members().into_iter().map(|(id, address)| async move {
            let vitals = if id == self.id() { Ok(self.vitals()) } else { self.ask(id, &address).await };
            let vitals = vitals.map_err(|error| match error {
                CallError::Older(_) => "it is of an older version, which does not tell".to_owned(),
                other => other.to_string(),
            });
            Pulse { id, address, vitals }
        });
        futures::future::join_all(asked).await
    }

    /// The newest format of records that every replica of the group reads. One that has not been
    /// heard of counts as the oldest: nobody must get what it cannot read.
    pub(crate) fn group_format(&self) -> u8 {
        let others = self.members().into_keys().filter(|id| *id != self.id());
        let read = others.map(|id| self.heard().last(id).map_or(FORMAT_OLDEST, |(_, vitals)| vitals.reads_format));
        read.fold(self.reads_format(), u8::min)
    }

    /// Answers what another replica asks and tells.
    pub(crate) fn answer_vitals(&self, told: &[u8]) -> Reply {
        if self.status().role == Role::Stopped {
            return Reply::Refused(self.fault());
        }
        match serde_json::from_slice::<Vitals>(told) {
            Ok(vitals) => self.hear(vitals),
            Err(error) => return Reply::Refused(error.to_string()),
        }
        match serde_json::to_vec(&self.vitals()) {
            Ok(text) => Reply::Vitals(text.into()),
            Err(error) => Reply::Refused(error.to_string()),
        }
    }

    fn hear(&self, vitals: Vitals) {
        self.removed().add(vitals.removed.iter().copied());
        self.stand_when_given_up(&vitals);
        self.heard().keep(vitals);
    }

    pub(crate) async fn ask(&self, id: ReplicaId, address: &str) -> Result<Vitals, CallError> {
        let unreadable = |e: &dyn std::fmt::Display| CallError::Lost(format!("{address}: {e}"));
        let own = serde_json::to_vec(&self.vitals()).map_err(|e| unreadable(&e))?;
        match self.call_replica(id, address, &Request::Vitals(own.into()), ANSWER_MAX).await? {
            Reply::Vitals(text) => {
                let vitals: Vitals = serde_json::from_slice(&text).map_err(|e| unreadable(&e))?;
                self.hear(vitals.clone());
                Ok(vitals)
            }
            other => Err(unreadable(&format!("{other:?}"))),
        }
    }

    /// Exchanges vitals with every other replica, as long as this one runs.
    pub(crate) async fn keep_in_touch(self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut is_told, mut absent) = (false, Absent::default());
        loop {
            ticks.tick().await;
            let mut others = self.members();
            others.remove(&self.id());
            let asked = others.iter().map(|(id, address)| {
                let store = self.clone();
                async move {
                    let answer = store.ask(*id, address).await;
                    match &answer {
                        Ok(vitals) => store.share_secret(*id, address, vitals).await,
                        Err(CallError::Older(_)) => {
                            let oldest = Vitals { id: *id, reads_format: FORMAT_OLDEST, ..Vitals::default() };
                            store.heard().keep(oldest);
                        }
                        // It is away: what it told stays.
                        Err(_) => {}
                    }
                    (*id, address, answer)
                }
            });
            let mut is_left_behind = !others.is_empty();
            absent.retain(|id| others.contains_key(&id));
            for (id, address, answer) in futures::future::join_all(asked).await {
                match &answer {
                    Ok(_) | Err(CallError::Older(_)) => absent.heard(id, address, Ok(())),
                    Err(error) => absent.heard(id, address, Err(error)),
                }
                is_left_behind &= answer.is_err_and(|error| is_of_another_authority(&error.to_string()));
            }
            if is_left_behind && !is_told {
                let file = self.dir().pki();
                tracing::error!(
                    file = %file.display(),
                    "all other replicas show certificates of an authority that is not known here: when it was replaced \
                     without this replica, copy that file from one of them and start again"
                );
            }
            is_told = is_left_behind;
        }
    }

    /// Gives a replica that missed a rotation the join secret.
    async fn share_secret(&self, id: ReplicaId, address: &str, vitals: &Vitals) {
        let Some(pki) = self.pki() else { return };
        if vitals.join_secret < pki.generation() && vitals.reads_format > FORMAT_OLDEST {
            let reply = self.call_replica(id, address, &pki.secret_request(), ANSWER_MAX).await;
            tracing::info!(replica = id, ?reply, "replica missed a rotation of the join token, got it now");
        }
    }
}
