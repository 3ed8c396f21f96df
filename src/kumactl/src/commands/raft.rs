//! `kumactl raft` and `kumactl status`: the group of replicas.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::RaftCommand;
use crate::client::Client;
use crate::output::table;

/// Runs a command on the group.
///
/// # Errors
/// What the control plane refuses.
pub(crate) async fn run(command: &RaftCommand, client: &Client) -> Result<()> {
    match command {
        RaftCommand::Status => print!("{}", replicas(&client.get_json("/raft").await?)),
        RaftCommand::JoinToken => {
            let answer = client.get_json("/raft/join-token").await?;
            let token = answer.get("token").and_then(Value::as_str).context("the answer holds no token")?;
            println!("{token}");
        }
        RaftCommand::Promote { id } => {
            change(client, "promote", Some(*id)).await?;
            println!("replica {id} votes");
        }
        RaftCommand::Remove { id } => {
            change(client, "remove", Some(*id)).await?;
            println!("removed replica {id}");
        }
        RaftCommand::Handover { id } => {
            change(client, "handover", Some(*id)).await?;
            println!("replica {id} leads");
        }
        RaftCommand::RotateKey => {
            change(client, "rotate-key", None).await?;
            println!("secrets are sealed with a new key");
        }
    }
    Ok(())
}

/// Shows the control plane as a whole: the group, its pace, and its proxies.
///
/// # Errors
/// What the control plane refuses.
pub(crate) async fn status(client: &Client) -> Result<()> {
    let group = client.get_json("/raft").await?;
    let propagation = client.get_json("/propagation").await.ok();
    print!("{}\n{}", summary(&group, propagation.as_ref()), replicas(&group));
    Ok(())
}

async fn change(client: &Client, what: &str, id: Option<u64>) -> Result<()> {
    let body = id.map_or_else(|| json!({}), |id| json!({ "id": id }));
    client.send(Method::POST, &format!("/raft/{what}"), Some(body.to_string())).await?.success()?;
    Ok(())
}

/// A value as it is shown in a column; `-` when it is not known.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// One row a replica.
fn replicas(group: &Value) -> String {
    let all = group.get("replicas").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let row = |replica: &Value| {
        let here = if replica.get("id") == group.get("id") { "*" } else { "" };
        let fields = ["id", "address", "role", "replicatedIndex"].map(|field| cell(replica.get(field)));
        std::iter::once(here.to_owned()).chain(fields).collect()
    };
    table(&["ANSWERS", "ID", "ADDRESS", "ROLE", "REPLICATED"], &all.iter().map(row).collect::<Vec<_>>())
}

/// One row a fact.
fn summary(group: &Value, propagation: Option<&Value>) -> String {
    let latency = |what: &str| {
        let millis = |percentile: &str| {
            let micros = group.get(what).and_then(|l| l.get(percentile)).and_then(Value::as_u64).unwrap_or(0);
            format!("{}.{:03} ms", micros / 1000, micros % 1000)
        };
        format!("p50 {}, p99 {}", millis("p50Us"), millis("p99Us"))
    };
    let mut rows = vec![
        ("leader", cell(group.get("leader"))),
        ("term", cell(group.get("term"))),
        ("revision", cell(group.get("revision"))),
        ("commit latency", latency("commit")),
        ("fsync latency", latency("fsync")),
    ];
    if let Some(propagation) = propagation {
        let pending = propagation.get("pending").and_then(Value::as_array).map_or(0, Vec::len);
        rows.push(("proxies behind, of this replica", pending.to_string()));
    }
    let rows: Vec<_> = rows.into_iter().map(|(what, value)| vec![what.to_owned(), value]).collect();
    table(&["WHAT", "VALUE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Value {
        json!({
            "id": 2, "leader": 1, "term": 3, "revision": 9, "commit": {"p50Us": 1500, "p99Us": 20_001},
            "fsync": {"p50Us": 0, "p99Us": 7},
            "replicas": [
                {"id": 1, "address": "a:1", "role": "leader"},
                {"id": 2, "address": "", "role": "learner", "replicatedIndex": 12},
            ],
        })
    }

    #[test]
    fn replicas_are_rows_and_the_one_that_answers_is_marked() {
        let expected = "ANSWERS   ID   ADDRESS   ROLE      REPLICATED\n          1    a:1       leader    -\n*         \
                        2    -         learner   12\n";
        assert_eq!(replicas(&group()), expected);
    }

    #[test]
    fn the_summary_tells_the_pace() {
        let shown = summary(&group(), Some(&json!({"pending": [{}]})));
        assert!(shown.contains("p50 1.500 ms, p99 20.001 ms"), "{shown}");
        assert!(shown.contains("proxies behind, of this replica   1\n"), "{shown}");
    }
}
