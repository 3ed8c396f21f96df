//! Who has what: `GET /propagation?revision=R`.

use serde::Serialize;
use store::Revision;

use crate::call::Call;
use crate::errors::Problem;
use crate::json;
use crate::routes::Answer;
use crate::running::Propagation;

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
    let propagation = running.propagation(revision);
    let complete = propagation.folded && propagation.pending.is_empty() && propagation.rejected.is_empty();
    Ok(json::response(&Body { revision: revision.0, current: current.0, complete, propagation }))
}
