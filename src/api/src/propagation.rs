//! Who has what: `GET /propagation?revision=R[&wait=5s]`. It speaks of the proxies that are connected
//! to this replica.

use std::time::Duration;

use model::kinds::duration::GoDuration;
use serde::Serialize;
use store::Revision;

use crate::call::Call;
use crate::errors::Problem;
use crate::json;
use crate::routes::Answer;
use crate::running::Propagation;

/// Longest wait for an answer.
const WAIT_MAX: Duration = Duration::from_secs(25);

/// Body of the answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    /// The revision that was asked for, or the newest.
    revision: u64,
    /// The newest revision that this replica knows.
    current: u64,
    /// Whether every connected proxy that the revision concerns runs it.
    complete: bool,
    #[serde(flatten)]
    propagation: Propagation,
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
    let Some(running) = &call.api.running else {
        return Err(Problem::unavailable("this control plane serves no proxies"));
    };
    if !wait.is_zero() {
        // Whatever is not settled by then is told as it is.
        drop(tokio::time::timeout(wait, running.settled(revision)).await);
    }
    let current = current();
    let asked = revision.unwrap_or(current);
    if asked > current {
        return Err(unknown(asked, current));
    }
    let propagation = running.propagation(revision);
    let is_settled = propagation.folded && propagation.pending.is_empty();
    let complete = is_settled && propagation.rejected.is_empty();
    Ok(json::response(&Body { revision: asked.0, current: current.0, complete, propagation }))
}

fn unknown(revision: Revision, newest: Revision) -> Problem {
    Problem::not_found_because(
        "Could not retrieve propagation",
        format!("revision {revision} is not known here, the newest is {newest}"),
    )
}
