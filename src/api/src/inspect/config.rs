//! `_config`: what a proxy should run, and what shadow policies would change.

use identity::Action;
use model::{Key, registry};

use super::picture::Picture;
use crate::call::{Call, parse_bool};
use crate::errors::Problem;
use crate::routes::Answer;

/// `GET …/dataplanes/{name}/_config`.
pub(crate) async fn config(call: Call) -> Answer {
    if call.settings().zone().is_none() {
        return Err(Problem::read_only("Not allowed on global CP"));
    }
    let wanted = Wanted::of(&call)?;
    // It shows what `xds` shows of a running proxy, so the same users may see it.
    call.may(Action::ViewConfigDump)?;
    let state = call.state().await?;
    call.mesh(&state)?;
    Picture::of(&call, &state, "Could not retrieve Dataplane")?;
    let key = Key::new(registry::DATAPLANE_INSIGHT, call.param("mesh"), call.param("name"));
    if state.get(&key).is_none() {
        return Err(Problem::not_found("Failed to fetch dataplane insight"));
    }
    let Wanted { shadow, diff } = wanted;
    tracing::debug!(shadow, diff, "configuration asked for");
    Err(Problem::unavailable("the configuration of a proxy cannot be shown by this build"))
}

/// What is asked for.
struct Wanted {
    /// With policies that are only evaluated.
    shadow: bool,
    /// With the difference that they make.
    diff: bool,
}

impl Wanted {
    fn of(call: &Call) -> Result<Self, Problem> {
        let unsupported =
            |name: &str| Problem::bad_request(format_args!("unsupported value for query parameter '{name}'"));
        let shadow = match call.query.get("shadow").unwrap_or_default() {
            "" => false,
            text => parse_bool(text).ok_or_else(|| unsupported("shadow"))?,
        };
        let mut diff = false;
        for include in call.query.all("include").filter(|include| !include.is_empty()) {
            if include != "diff" {
                return Err(unsupported("include"));
            }
            diff = true;
        }
        Ok(Self { shadow, diff })
    }
}
