//! Who has what: `GET /propagation?revision=R[&wait=5s]`. It speaks of the proxies that are connected
//! to any replica of the group; one that does not tell is named, and nothing is complete without it.

use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use model::kinds::duration::GoDuration;
use serde::{Deserialize, Serialize};
use store::{Revision, Store};
use tokio::time::Instant;

use crate::call::Call;
use crate::errors::Problem;
use crate::group::OtherTold;
use crate::json;
use crate::routes::Answer;
use crate::running::{Propagation, Running};

/// Longest wait for an answer.
const WAIT_MAX: Duration = Duration::from_secs(25);

/// How long another replica may take to tell what it knows.
const TELL_MAX: Duration = Duration::from_secs(1);

/// Pause before one that did not tell is asked again.
const AGAIN_PAUSE: Duration = Duration::from_millis(250);

/// What one replica asks another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Asked {
    /// The revision; without, everything that there is.
    pub revision: Option<u64>,
    /// The newest revision of the one that asks: who is behind has not taken in everything.
    pub newest: u64,
    /// How long to wait for its proxies, in milliseconds.
    pub wait_ms: u64,
}

/// What a replica tells of its proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// See [`Propagation`].
    #[serde(flatten)]
    pub propagation: Propagation,
}

impl Asked {
    /// Answers another replica: at once, or when its proxies have answered or the wait is over.
    pub async fn answer(self, running: &dyn Running, store: &dyn Store) -> Told {
        let wait = Duration::from_millis(self.wait_ms).min(WAIT_MAX);
        if !wait.is_zero() {
            drop(tokio::time::timeout(wait, self.settled(running)).await);
        }
        self.now(running, store)
    }

    /// Ends when the proxies of this replica have answered, or one has refused.
    async fn settled(self, running: &dyn Running) {
        if self.revision.is_none() {
            running.settled(Some(Revision(self.newest))).await;
        }
        running.settled(self.revision.map(Revision)).await;
    }

    fn now(self, running: &dyn Running, store: &dyn Store) -> Told {
        let mut propagation = running.propagation(self.revision.map(Revision));
        propagation.folded &= store.snapshot().revision().0 >= self.revision.unwrap_or(self.newest);
        Told { propagation }
    }
}

/// Body of the answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    /// The revision that was asked for, or the newest.
    revision: u64,
    /// The newest revision that this replica knows.
    current: u64,
    /// Whether every connected proxy that the revision concerns runs it, and every replica said so.
    complete: bool,
    /// Of all replicas that told.
    #[serde(flatten)]
    propagation: Propagation,
    /// How many replicas told.
    replicas: usize,
    /// Replicas of whose proxies nothing is known.
    unknown: Vec<Silent>,
}

/// A replica that did not tell.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Silent {
    id: u64,
    address: String,
    why: String,
}

impl Body {
    /// What this replica and the others told together.
    fn of(asked: Revision, current: Revision, own: Told, others: Vec<OtherTold>) -> Self {
        let (mut total, mut replicas, mut unknown) = (own.propagation, 1, Vec::new());
        for other in others {
            match other.told {
                Ok(told) => {
                    add(&mut total, told.propagation);
                    replicas += 1;
                }
                Err(why) => unknown.push(Silent { id: other.id, address: other.address, why }),
            }
        }
        let is_settled = total.folded && total.pending.is_empty() && unknown.is_empty();
        let complete = is_settled && total.rejected.is_empty();
        Self { revision: asked.0, current: current.0, complete, propagation: total, replicas, unknown }
    }
}

fn add(total: &mut Propagation, of: Propagation) {
    total.folded &= of.folded;
    total.concerned += of.concerned;
    total.acknowledged += of.acknowledged;
    total.pending.extend(of.pending);
    total.rejected.extend(of.rejected);
}

/// How long the client wants to wait for all proxies.
fn wait(call: &Call) -> Result<Duration, Problem> {
    let Some(text) = call.query.get("wait").filter(|text| !text.is_empty()) else { return Ok(Duration::ZERO) };
    let wait: GoDuration = text.parse().map_err(|e| Problem::bad_request(format_args!("wait: {e}")))?;
    Ok(wait.to_std().min(WAIT_MAX))
}

/// The revision that is asked for.
fn revision(call: &Call) -> Result<Option<Revision>, Problem> {
    let Some(text) = call.query.get("revision").filter(|text| !text.is_empty()) else { return Ok(None) };
    let number =
        text.parse().map_err(|_| Problem::bad_request(format_args!("revision: expected a number, got {text:?}")))?;
    Ok(Some(Revision(number)))
}

/// `GET /propagation`; without `revision` it tells whether everything that there is is everywhere. With
/// `wait` it answers when nothing is pending or something is refused, and at the latest after that time.
pub(crate) async fn propagation(call: Call) -> Answer {
    let (revision, wait) = (revision(&call)?, wait(&call)?);
    let current = || call.api.store.snapshot().revision();
    let newest = current();
    if let Some(revision) = revision.filter(|revision| *revision > newest && wait.is_zero()) {
        return Err(unknown(revision, newest));
    }
    let Some(running) = call.api.running.clone() else {
        return Err(Problem::unavailable("this control plane serves no proxies"));
    };
    let asked = Asked { revision: revision.map(|revision| revision.0), newest: newest.0, wait_ms: 0 };
    if !wait.is_zero() {
        let deadline = Instant::now() + wait;
        // Whatever is not settled by then is told as it is.
        drop(tokio::time::timeout_at(deadline, until_settled(&call, &*running, asked, deadline)).await);
    }
    let current = current();
    let of = revision.unwrap_or(current);
    if of > current {
        return Err(unknown(of, current));
    }
    // All at about the same moment: while they are waited for, proxies may go from one to another.
    let asked = Asked { newest: current.0, ..asked };
    let others = others(&call, asked, TELL_MAX);
    let others = futures::future::join_all(others).await;
    let own = asked.now(&*running, &*call.api.store);
    Ok(json::response(&Body::of(of, current, own, others)))
}

/// The answers of the other replicas, when there are some.
fn others(call: &Call, asked: Asked, patience: Duration) -> Vec<BoxFuture<'static, OtherTold>> {
    call.api.group.as_ref().map(|group| group.ask(asked, patience)).unwrap_or_default()
}

/// Ends when the proxies of all replicas have answered, or one has refused. Replicas that do not tell
/// are asked again.
async fn until_settled(call: &Call, running: &dyn Running, asked: Asked, deadline: Instant) {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let wait_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let mut answers = FuturesUnordered::<BoxFuture<'_, Option<Propagation>>>::new();
        answers.push(Box::pin(async {
            asked.settled(running).await;
            Some(asked.now(running, &*call.api.store).propagation)
        }));
        for other in others(call, Asked { wait_ms, ..asked }, left + TELL_MAX) {
            answers.push(Box::pin(async { other.await.told.ok().map(|told| told.propagation) }));
        }
        let mut is_silent = false;
        while let Some(answer) = answers.next().await {
            match answer {
                Some(told) if !told.rejected.is_empty() => return,
                Some(_) => {}
                None => is_silent = true,
            }
        }
        if !is_silent {
            return;
        }
        tokio::time::sleep(AGAIN_PAUSE).await;
    }
}

fn unknown(revision: Revision, newest: Revision) -> Problem {
    Problem::not_found_because(
        "Could not retrieve propagation",
        format!("revision {revision} is not known here, the newest is {newest}"),
    )
}

#[cfg(test)]
mod tests {
    use crate::running::PendingProxy;

    use super::*;

    fn told(concerned: usize, acknowledged: usize) -> Told {
        let pending = PendingProxy { mesh: "m".to_owned(), name: "web".to_owned(), for_ms: 3 };
        let pending = vec![pending; concerned - acknowledged];
        Told { propagation: Propagation { folded: true, concerned, acknowledged, pending, ..Propagation::default() } }
    }

    fn other(told: Result<Told, String>) -> OtherTold {
        OtherTold { id: 2, address: "b:1".to_owned(), told }
    }

    fn body(own: Told, others: Vec<OtherTold>) -> Body {
        Body::of(Revision(7), Revision(9), own, others)
    }

    #[test]
    fn replicas_are_added_up() {
        let all = body(told(2, 2), vec![other(Ok(told(3, 3))), other(Ok(told(0, 0)))]);
        assert_eq!((all.complete, all.replicas), (true, 3));
        assert_eq!((all.propagation.concerned, all.propagation.acknowledged), (5, 5));
        let late = body(told(2, 2), vec![other(Ok(told(3, 2)))]);
        assert_eq!((late.complete, late.propagation.acknowledged, late.propagation.pending.len()), (false, 4, 1));
        let mut behind = told(0, 0);
        behind.propagation.folded = false;
        assert!(!body(told(2, 2), vec![other(Ok(behind))]).complete);
    }

    #[test]
    fn one_that_does_not_tell_is_named_and_never_counts_as_done() {
        let answer = body(told(2, 2), vec![other(Err("no route".to_owned()))]);
        assert_eq!((answer.complete, answer.replicas, answer.propagation.concerned), (false, 1, 2));
        let named = Silent { id: 2, address: "b:1".to_owned(), why: "no route".to_owned() };
        assert_eq!(answer.unknown, [named]);
    }

    #[test]
    fn what_replicas_ask_and_tell_travels_as_json() {
        let asked = Asked { revision: Some(7), newest: 9, wait_ms: 5 };
        assert_eq!(serde_json::from_value::<Asked>(serde_json::to_value(asked).unwrap()).unwrap(), asked);
        let told = told(3, 2);
        assert_eq!(serde_json::from_value::<Told>(serde_json::to_value(&told).unwrap()).unwrap(), told);
    }
}
