//! Who has what: `GET /propagation?revision=R[&wait=5s]`.

use std::time::Duration;

use model::kinds::duration::GoDuration;
use serde::Serialize;
use store::Revision;
use tokio::time::Instant;

use crate::call::Call;
use crate::errors::Problem;
use crate::json;
use crate::routes::Answer;
use crate::running::Propagation;

/// Longest wait for an answer.
const WAIT_MAX: Duration = Duration::from_secs(25);
/// How often a waiting request looks again: answers of proxies are counted in memory, and nothing
/// tells of each.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Body of the answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    /// The revision that was asked for.
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

/// Whether waiting changes nothing: every proxy has answered.
fn is_settled(propagation: &Propagation) -> bool {
    propagation.folded && propagation.pending.is_empty()
}

/// `GET /propagation`; without `revision` for the newest.
pub(crate) async fn propagation(call: Call) -> Answer {
    let current = call.api.store.snapshot().revision();
    let revision = match call.query.get("revision") {
        None | Some("") => current,
        Some(text) => Revision(
            text.parse()
                .map_err(|_| Problem::bad_request(format_args!("revision: expected a number, got {text:?}")))?,
        ),
    };
    if revision > current {
        return Err(Problem::not_found_because(
            "Could not retrieve propagation",
            format!("revision {revision} is not known here, the newest is {current}"),
        ));
    }
    let Some(running) = &call.api.running else {
        return Err(Problem::unavailable("this control plane serves no proxies"));
    };
    let deadline = Instant::now() + wait(&call)?;
    let mut propagation = running.propagation(revision);
    while !is_settled(&propagation) && Instant::now() < deadline {
        tokio::time::sleep(LOOK_AGAIN).await;
        propagation = running.propagation(revision);
    }
    let complete = is_settled(&propagation) && propagation.rejected.is_empty();
    Ok(json::response(&Body { revision: revision.0, current: current.0, complete, propagation }))
}
