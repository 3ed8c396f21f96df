//! `kumactl wait`: until a change has reached every proxy that it concerns.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::time::Instant;

use crate::cli::WaitFlags;
use crate::client::Client;
use crate::commands::apply;
use crate::resources::item_path;

/// The header with the revision of a write, or of a resource that is read.
const REVISION_HEADER: &str = "Kuma-Revision";

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
        let path = format!("/propagation?revision={revision}&wait={}ms", left.as_millis().min(10_000));
        let report = client.get_json(&path).await?;
        let list = |field: &str| report.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let (pending, rejected) = (list("pending"), list("rejected"));
        if !rejected.is_empty() {
            bail!("revision {revision} was refused by {} proxies:\n{}", rejected.len(), lines(&rejected));
        }
        if pending.is_empty() {
            let concerned = report.get("concerned").and_then(Value::as_u64).unwrap_or(0);
            println!("revision {revision} has reached all {concerned} proxies that it concerns");
            return Ok(());
        }
        if left.is_zero() {
            let count = pending.len();
            bail!("revision {revision} has not reached {count} proxies in {:?}:\n{}", flags.timeout, lines(&pending));
        }
    }
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
        let text = |field: &str| proxy.get(field).and_then(Value::as_str).unwrap_or_default();
        let waited = proxy.get("forMs").and_then(Value::as_u64).map(|ms| format!(" for {ms} ms")).unwrap_or_default();
        let message = text("message");
        let message = if message.is_empty() { String::new() } else { format!(": {message}") };
        format!("  {}/{}{waited}{message}", text("mesh"), text("name"))
    };
    proxies.iter().map(line).collect::<Vec<_>>().join("\n")
}
