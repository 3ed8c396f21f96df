//! Replacing the authority of the replicas while they go on.
//!
//! The leader has all replicas take the same three steps, see [`crate::pki`], and begins with one when
//! all have confirmed the one before: so whoever shows a certificate is believed by everybody, at any
//! time and after any crash. A replacement that was cut short is gone on with by the next order,
//! from what the replicas tell of themselves. Until it is at its end the former authority is trusted.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;

use crate::RaftStore;
use crate::peers::CallError;
use crate::pki::{Pki, Step, Trust};
use crate::rpc::{Reply, Request};
use crate::types::ReplicaId;
use crate::vitals::Vitals;

/// How long one replica may take for a step.
const STEP_MAX: Duration = Duration::from_secs(2);

/// How long another change of the group may take to end.
const QUIET_WAIT: Duration = Duration::from_secs(1);

/// The format since which replicas know of it.
const FORMAT_NEEDED: u8 = 3;

/// A step, before it is known which authority it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Trust,
    Show,
    Rely,
}

const WHOLE: [Stage; 3] = [Stage::Trust, Stage::Show, Stage::Rely];

impl RaftStore {
    /// Replaces the authority, if this replica leads; or ends what was begun with.
    pub(crate) async fn rotate_authority_here(&self) -> Reply {
        let Some(pki) = self.pki() else {
            return Reply::Refused("this replica has no replica listener, so it shows nobody a certificate".to_owned());
        };
        // Nobody enters meanwhile: a new replica must not miss a step.
        let Ok(_alone) = tokio::time::timeout(QUIET_WAIT, self.changing().lock()).await else {
            return Reply::Refused("another change of the group is under way, nothing was changed".to_owned());
        };
        let Some(term) = self.leading_term().await else { return Reply::NotLeader(None) };
        let others = match self.others_that_follow().await {
            Ok(others) => others,
            Err(why) => return Reply::Refused(format!("{why}; nothing was changed")),
        };
        let stages = match stages(&pki.trust(), &others) {
            Ok(stages) => stages,
            Err(why) => return Reply::Refused(format!("{why}; nothing was changed")),
        };
        match self.order(pki, term, stages, &others).await {
            Ok(reply) => reply,
            Err(why) => Reply::Refused(why),
        }
    }

    /// Has all take the steps, one after the other.
    async fn order(
        &self,
        pki: &Pki,
        term: u64,
        stages: &[Stage],
        others: &BTreeMap<ReplicaId, (String, Vitals)>,
    ) -> Result<Reply, String> {
        let (authority, trust) = pki.trust_step().map_err(|e| format!("no authority could be made: {e}"))?;
        let generations = others.values().map(|(_, vitals)| vitals.join_secret);
        let generation = generations.fold(pki.generation(), u64::max) + 1;
        for stage in stages {
            let step = match stage {
                Stage::Trust => trust.clone(),
                Stage::Show => Step::Show { authority, generation },
                Stage::Rely => pki.rely_step(),
            };
            // The next leader goes on with it.
            if self.leading_term().await != Some(term) {
                return Ok(Reply::NotLeader(None));
            }
            // Who leads is last to say that it is at its end, and first to have what it is about.
            if *stage != Stage::Rely {
                self.take_authority_step(term, step.clone()).await.map_err(|why| missed(*stage, self.id(), &why))?;
            }
            let request = Request::Authority { term, step: step.clone() };
            let taken = join_all(others.iter().map(|(id, (address, _))| {
                let request = &request;
                async move {
                    match self.call_replica(*id, address, request, STEP_MAX).await {
                        Ok(Reply::Done) => Ok(()),
                        Ok(Reply::Refused(why)) => Err(missed(*stage, *id, &why)),
                        Ok(other) => Err(missed(*stage, *id, &format!("{other:?}"))),
                        Err(error) => Err(missed(*stage, *id, &error.to_string())),
                    }
                }
            }));
            taken.await.into_iter().collect::<Result<(), _>>()?;
            if *stage == Stage::Rely {
                self.take_authority_step(term, step).await.map_err(|why| missed(*stage, self.id(), &why))?;
            }
        }
        tracing::info!("the authority of the replicas was replaced");
        Ok(Reply::Done)
    }

    /// The term that this replica leads, when a majority confirms it.
    async fn leading_term(&self) -> Option<u64> {
        let term = self.raft().metrics().borrow().current_term;
        let confirmed = tokio::time::timeout(STEP_MAX, self.raft().get_read_log_id()).await;
        let same = self.raft().metrics().borrow().current_term == term;
        (same && matches!(confirmed, Ok(Ok(_)))).then_some(term)
    }

    /// All other replicas, when each is there and knows what will be asked of it.
    async fn others_that_follow(&self) -> Result<BTreeMap<ReplicaId, (String, Vitals)>, String> {
        let others = self.members().into_iter().filter(|(id, _)| *id != self.id());
        let asked = others.map(|(id, address)| async move {
            match self.ask(id, &address).await {
                Ok(vitals) if vitals.reads_format < FORMAT_NEEDED => Err(older(id)),
                Ok(vitals) => Ok((id, (address, vitals))),
                Err(CallError::Older(_)) => Err(older(id)),
                Err(error) => Err(format!("replica {id} must be reachable or removed: {error}")),
            }
        });
        if self.reads_format() < FORMAT_NEEDED {
            return Err(older(self.id()));
        }
        join_all(asked).await.into_iter().collect()
    }

    async fn take_authority_step(&self, term: u64, step: Step) -> Result<(), String> {
        let Some(certificates) = self.certificates().cloned() else {
            return Err("it has no replica listener".to_owned());
        };
        let store = self.clone();
        // It makes keys and waits for the disk.
        let taken = tokio::task::spawn_blocking(move || certificates.take_step(&store, term, &step));
        taken.await.map_err(|e| e.to_string())?
    }

    /// Takes a step that the leader orders.
    pub(crate) async fn answer_authority_step(&self, term: u64, step: Step) -> Reply {
        match self.take_authority_step(term, step).await {
            Ok(()) => Reply::Done,
            Err(why) => Reply::Refused(why),
        }
    }
}

/// What is left to do, from how far this replica and the others are.
fn stages(own: &Trust, others: &BTreeMap<ReplicaId, (String, Vitals)>) -> Result<&'static [Stage], String> {
    let known =
        |shown: &String| *shown == own.shown || Some(shown) == own.next.as_ref() || Some(shown) == own.former.as_ref();
    let mut all_show = true;
    let mut is_unfinished = own.former.is_some();
    for (id, (_, vitals)) in others {
        let trust = &vitals.trust;
        if !known(&trust.shown) {
            return Err(format!(
                "replica {id} shows certificates of another authority: remove it, and have it join anew"
            ));
        }
        all_show &= trust.shown == own.shown;
        is_unfinished |= trust.former.is_some();
    }
    // All have shown it for as long as anybody has not trusted it alone.
    let only_the_end = own.next.is_none() && all_show && is_unfinished;
    Ok(if only_the_end { &WHOLE[2..] } else { &WHOLE })
}

fn older(id: ReplicaId) -> String {
    format!("replica {id} is of an older version, which cannot replace its authority: upgrade it first")
}

/// What the operator is told when a replica did not take a step.
fn missed(stage: Stage, id: ReplicaId, why: &str) -> String {
    let so = match stage {
        Stage::Trust => format!("the former authority holds: replica {id} did not get the new one"),
        Stage::Show => format!("the new and the former authority hold: replica {id} does not show the new one"),
        Stage::Rely => format!("the new authority holds, but replica {id} still trusts the former one as well"),
    };
    format!("{so} ({why}). Go on with the same command once that replica is reachable or removed")
}

/// Whether a call failed because of a certificate of an authority that is not known here.
pub(crate) fn is_of_another_authority(why: &str) -> bool {
    ["UnknownIssuer", "BadSignature"].iter().any(|problem| why.contains(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(shown: &str, next: &str, former: &str) -> Trust {
        let some = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Trust { shown: shown.to_owned(), next: some(next), former: some(former) }
    }

    #[test]
    fn a_replacement_goes_on_where_it_was_cut_short() {
        let (plain, trusting) = (trust("a", "", ""), trust("a", "b", ""));
        let (showing, done) = (trust("b", "", "a"), trust("b", "", ""));
        let to_do = |own: &Trust, others: [&Trust; 2]| {
            let of = |trust: &Trust| Vitals { trust: trust.clone(), ..Vitals::default() };
            let others = (1..).zip(others).map(|(id, trust)| (id, (String::new(), of(trust)))).collect();
            stages(own, &others)
        };
        for (own, others, left) in [
            (&plain, [&plain, &plain], 3),
            (&plain, [&plain, &trusting], 3),
            (&trusting, [&plain, &trusting], 3),
            (&trusting, [&trusting, &showing], 3),
            (&showing, [&trusting, &showing], 3),
            (&showing, [&showing, &showing], 1),
            (&showing, [&done, &showing], 1),
            (&done, [&done, &showing], 1),
            (&done, [&done, &done], 3),
        ] {
            assert_eq!(to_do(own, others).unwrap(), &WHOLE[3 - left..], "{own:?} {others:?}");
        }
        let stranger = trust("c", "", "");
        assert!(to_do(&trusting, [&trusting, &stranger]).unwrap_err().contains("replica 2"));
    }
}
