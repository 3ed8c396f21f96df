//! `kumactl wait`: until a change has reached every proxy that it concerns.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use crate::cli::WaitFlags;
use crate::client::Client;
use crate::commands::apply;
use crate::resources::item_path;

/// The header with the revision of a write, or of a resource that is read.
const REVISION_HEADER: &str = "Kuma-Revision";

/// The longest that one request waits: whatever is between here and the control plane sees an answer
/// before it takes the connection for dead.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(10);

/// Pause before a control plane is asked again that does not know the revision.
const AGAIN_PAUSE: Duration = Duration::from_millis(250);

/// Why the change is not everywhere. Scripts tell these apart by the exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotEverywhere {
    /// Proxies refused it.
    #[error("{0}")]
    Refused(String),
    /// The time is over.
    #[error("{0}")]
    Late(String),
}

impl NotEverywhere {
    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => 2,
            Self::Late(_) => 3,
        }
    }
}

/// Waits until all connected proxies that the revision concerns have acknowledged it.
///
/// # Errors
/// A proxy that refuses, or the end of the time: both with the proxies' names.
pub(crate) async fn run(flags: &WaitFlags, client: &Client) -> Result<()> {
    let revision = match (&flags.revision, &flags.file) {
        (Some(revision), _) => *revision,
        (None, Some(file)) => newest_of(file, client).await?,
        (None, None) => bail!("either --revision or --file is needed"),
    };
    let deadline = Instant::now() + flags.timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // The control plane answers when all is done or the time is over, whichever comes first.
        let path = format!("/propagation?revision={revision}&wait={}ms", left.min(REQUEST_WAIT_MAX).as_millis());
        let answer = client.send(reqwest::Method::GET, &path, None).await?;
        let verdict = if answer.status == StatusCode::NOT_FOUND {
            // The replica that is asked may be behind the one that took the write.
            tokio::time::sleep(AGAIN_PAUSE.min(left)).await;
            Verdict::NotYet(format!("{:#}", answer.error()))
        } else {
            let report = serde_json::from_str(&answer.success()?).context("the control plane answered no JSON")?;
            verdict(revision, &report)
        };
        match verdict {
            Verdict::Everywhere(text) => {
                println!("{text}");
                return Ok(());
            }
            Verdict::Refused(text) => return Err(NotEverywhere::Refused(text).into()),
            Verdict::NotYet(text) if left.is_zero() => {
                return Err(NotEverywhere::Late(format!("after {:?} {text}", flags.timeout)).into());
            }
            Verdict::NotYet(_) => {}
        }
    }
}

/// What a report says, in words.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Everywhere(String),
    Refused(String),
    NotYet(String),
}

fn verdict(revision: u64, report: &Value) -> Verdict {
    let list = |field: &str| report.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (pending, rejected) = (list("pending"), list("rejected"));
    let concerned = report.get("concerned").and_then(Value::as_u64).unwrap_or(0);
    if !rejected.is_empty() {
        let waiting = match pending.len() {
            0 => String::new(),
            count => format!("\n{count} more have not answered yet"),
        };
        let (count, lines) = (rejected.len(), lines(rejected));
        return Verdict::Refused(format!(
            "revision {revision} was refused by {count} of {concerned} proxies:\n{lines}{waiting}"
        ));
    }
    if report.get("folded") != Some(&Value::Bool(true)) {
        return Verdict::NotYet(format!("the control plane has not taken in revision {revision}"));
    }
    let silent = list("unknown");
    if !pending.is_empty() || !silent.is_empty() {
        let missing = (!pending.is_empty()).then(|| {
            let (count, lines) = (pending.len(), lines(pending));
            format!("revision {revision} has not reached {count} of {concerned} proxies:\n{lines}")
        });
        let named = (!silent.is_empty())
            .then(|| format!("it is not known who has revision {revision} at these replicas:\n{}", replicas(silent)));
        return Verdict::NotYet(missing.into_iter().chain(named).collect::<Vec<_>>().join("\n"));
    }
    Verdict::Everywhere(match concerned {
        0 => format!("revision {revision} concerns no connected proxy"),
        1 => format!("revision {revision} has reached the one proxy that it concerns"),
        _ => format!("revision {revision} has reached all {concerned} proxies that it concerns"),
    })
}

/// Replicas that do not tell, one a line.
fn replicas(silent: &[Value]) -> String {
    let line = |replica: &Value| {
        let text = |field: &str| replica.get(field).and_then(Value::as_str).unwrap_or_default();
        let id = replica.get("id").and_then(Value::as_u64).unwrap_or_default();
        format!("  replica {id} at {}: {}", text("address"), text("why"))
    };
    silent.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The newest revision of the resources in a file.
async fn newest_of(file: &str, client: &Client) -> Result<u64> {
    let text = apply::read(file).await?;
    let mut newest = 0;
    for resource in apply::parse_all(&text, &std::collections::BTreeMap::new())? {
        let key = &resource.key;
        let path = item_path(key.kind, &key.mesh, &key.name);
        let answer = client.send(reqwest::Method::GET, &path, None).await?;
        let revision = answer.headers.get(REVISION_HEADER).and_then(|v| v.to_str().ok()?.parse().ok());
        answer.success().with_context(|| format!("{key} cannot be read"))?;
        let revision = revision.with_context(|| format!("the control plane does not tell the revision of {key}"))?;
        newest = newest.max(revision);
    }
    Ok(newest)
}

fn lines(proxies: &[Value]) -> String {
    let line = |proxy: &Value| {
        let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let waited = proxy.get("forMs").and_then(Value::as_u64).map(|ms| format!(" for {ms} ms")).unwrap_or_default();
        let message = text(proxy, "message");
        let message = if message.is_empty() { message } else { format!(": {message}") };
        let origins = proxy.get("origins").and_then(Value::as_array).into_iter().flatten();
        let origins: Vec<_> = origins.map(|o| format!("{} {}", text(o, "type"), text(o, "name"))).collect();
        let origins = if origins.is_empty() { String::new() } else { format!(" (from {})", origins.join(", ")) };
        format!("  {}/{}{waited}{message}{origins}", text(proxy, "mesh"), text(proxy, "name"))
    };
    proxies.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_say_how_far_it_is() {
        let report = |folded: bool, concerned: u64| json!({"folded": folded, "concerned": concerned, "pending": [], "rejected": []});
        let everywhere = |text: &str| Verdict::Everywhere(text.to_owned());
        assert_eq!(verdict(7, &report(true, 0)), everywhere("revision 7 concerns no connected proxy"));
        assert_eq!(verdict(7, &report(true, 3)), everywhere("revision 7 has reached all 3 proxies that it concerns"));
        let not_taken_in = Verdict::NotYet("the control plane has not taken in revision 7".to_owned());
        assert_eq!(verdict(7, &report(false, 0)), not_taken_in);
        let mut pending = report(true, 2);
        pending["pending"] = json!([{"mesh": "m", "name": "web", "forMs": 12}]);
        let late = Verdict::NotYet("revision 7 has not reached 1 of 2 proxies:\n  m/web for 12 ms".to_owned());
        assert_eq!(verdict(7, &pending), late);
        pending["rejected"] = json!([{"mesh": "m", "name": "api", "message": "added: no", "origins": [
            {"type": "MeshProxyPatch", "mesh": "m", "name": "p"}]}]);
        let refused = "revision 7 was refused by 1 of 2 proxies:\n  m/api: added: no (from MeshProxyPatch p)\n\
                       1 more have not answered yet";
        assert_eq!(verdict(7, &pending), Verdict::Refused(refused.to_owned()));
    }

    #[test]
    fn a_replica_that_does_not_tell_is_waited_for_and_named() {
        let report = json!({"folded": true, "concerned": 2, "pending": [], "rejected": [], "unknown": [
            {"id": 8, "address": "b:1", "why": "connection refused"}]});
        let waits = "it is not known who has revision 7 at these replicas:\n  replica 8 at b:1: connection refused";
        assert_eq!(verdict(7, &report), Verdict::NotYet(waits.to_owned()));
    }

    #[test]
    fn exit_codes_tell_a_refusal_from_a_delay() {
        let codes = [NotEverywhere::Refused(String::new()), NotEverywhere::Late(String::new())].map(|e| e.exit_code());
        assert_eq!(codes, [2, 3]);
    }
}
