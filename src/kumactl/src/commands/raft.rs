//! `kumactl raft` and `kumactl status`: the group of replicas.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
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
        RaftCommand::Add { address, token_file } => add(client, address, token_file).await?,
        RaftCommand::RotateJoinToken => {
            change(client, "rotate-join-token", None).await?;
            println!("replicas join with a new token: kumactl raft join-token");
        }
        RaftCommand::RotateAuthority => {
            change(client, "rotate-authority", None).await?;
            println!("replicas know each other by a new authority, and join with a new token: kumactl raft join-token");
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

/// Writes the token for a new replica and prints how to start it.
async fn add(client: &Client, address: &str, token_file: &Path) -> Result<()> {
    let answer = client.get_json("/raft/join-token").await?;
    let token = answer.get("token").and_then(Value::as_str).context("the answer holds no token")?;
    let failed = || format!("could not write {}", token_file.display());
    let mut file = std::fs::OpenOptions::new();
    let mut file = file.write(true).create(true).truncate(true).mode(0o600).open(token_file).with_context(failed)?;
    file.write_all(token.as_bytes()).with_context(failed)?;
    println!("{}", joining(&client.get_json("/raft").await?, address, token_file)?);
    Ok(())
}

/// How to start a replica that joins.
fn joining(group: &Value, address: &str, token_file: &Path) -> Result<String> {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let port = port.with_context(|| format!("expected HOST:PORT, got {address:?}"))?;
    let known = group.get("replicas").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let addresses = known.iter().filter_map(|replica| replica.get("address").and_then(Value::as_str));
    let joins: Vec<_> = addresses.filter(|known| !known.is_empty()).map(|known| format!("--join {known}")).collect();
    if joins.is_empty() {
        bail!("the control plane has no listener for other replicas (store.raft.listen)");
    }
    Ok(format!(
        "The token is in {file}. Bring it to the machine of {address}, and start there, with an empty data directory:\n\n\
         KUMA_STORE_RAFT_LISTEN=0.0.0.0:{port} KUMA_STORE_RAFT_ADVERTISE={address} \\\n\
         KUMA_STORE_RAFT_JOIN_TOKEN_FILE={file} kuma-cp run {joins}\n",
        file = token_file.display(),
        joins = joins.join(" "),
    ))
}

/// Shows the control plane as a whole: the group, its pace, and its proxies.
///
/// # Errors
/// What the control plane refuses.
pub(crate) async fn status(client: &Client) -> Result<()> {
    let group = client.get_json("/raft").await?;
    let vitals = client.get_json("/raft/vitals").await?;
    print!("{}\n{}", summary(&group, &vitals), pulses(&vitals));
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

/// The items of the vitals.
fn items(vitals: &Value) -> &[Value] {
    vitals.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Percentiles as they are shown; `-` without samples.
fn latency(of: &Value, what: &str) -> String {
    let micros = |percentile: &str| of.get(what).and_then(|l| l.get(percentile)).and_then(Value::as_u64).unwrap_or(0);
    let millis = |micros: u64| format!("{}.{:03}", micros / 1000, micros % 1000);
    match (micros("p50Us"), micros("p99Us")) {
        (0, 0) => "-".to_owned(),
        (p50, p99) => format!("{}/{}", millis(p50), millis(p99)),
    }
}

/// What is told of a replica.
const PULSE_COLUMNS: [&str; 9] =
    ["ID", "ADDRESS", "ROLE", "REVISION", "PROXIES", "VERSION", "COMMIT MS", "FSYNC MS", "PROPAGATION MS"];

/// One row a replica, with how it does; the last column of one that does not answer says why.
fn pulses(vitals: &Value) -> String {
    let row = |replica: &Value| {
        let mut row: Vec<_> = ["id", "address", "role"].map(|field| cell(replica.get(field))).into();
        if let Some(why) = replica.get("unreachable").and_then(Value::as_str) {
            row.resize(PULSE_COLUMNS.len() - 1, "-".to_owned());
            row.push(format!("unreachable: {why}"));
        } else {
            row.extend(["revision", "proxies", "version"].map(|field| cell(replica.get(field))));
            row.extend(["commit", "fsync", "propagation"].map(|what| latency(replica, what)));
        }
        row
    };
    table(&PULSE_COLUMNS, &items(vitals).iter().map(row).collect::<Vec<_>>())
}

/// One row a fact.
fn summary(group: &Value, vitals: &Value) -> String {
    let answering = items(vitals).iter().filter(|replica| replica.get("unreachable").is_none());
    let proxies: u64 = answering.clone().filter_map(|replica| replica.get("proxies").and_then(Value::as_u64)).sum();
    let leader = items(vitals).iter().find(|replica| replica.get("id") == group.get("leader"));
    let of_leader = |what: &str| leader.map_or_else(|| "-".to_owned(), |leader| latency(leader, what));
    let rows = [
        ("leader", cell(group.get("leader"))),
        ("term", cell(group.get("term"))),
        ("revision", cell(group.get("revision"))),
        ("replicas", format!("{} of {} answer", answering.count(), items(vitals).len())),
        ("proxies", proxies.to_string()),
        ("commit of the leader, p50/p99 ms", of_leader("commit")),
        ("fsync of the leader, p50/p99 ms", of_leader("fsync")),
    ];
    let is_unfinished = items(vitals).iter().any(|replica| replica.get("isBetweenAuthorities") == Some(&json!(true)));
    let unfinished = ("authority", "half replaced, `kumactl raft rotate-authority` goes on".to_owned());
    let rows = rows.into_iter().chain(is_unfinished.then_some(unfinished));
    let rows: Vec<_> = rows.map(|(what, value)| vec![what.to_owned(), value]).collect();
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
    fn the_status_tells_the_pace_and_who_does_not_answer() {
        let vitals = json!({"items": [
            {"id": 1, "address": "a:1", "role": "leader", "version": "3.0.0", "revision": 9, "proxies": 4,
             "commit": {"p50Us": 1500, "p99Us": 20_001}, "fsync": {"p50Us": 0, "p99Us": 7}},
            {"id": 2, "address": "b:1", "role": "voter", "unreachable": "b:1: connection refused"},
        ]});
        let shown = summary(&group(), &vitals);
        for row in
            ["commit of the leader, p50/p99 ms   1.500/20.001\n", "replicas                           1 of 2 answer\n"]
        {
            assert!(shown.contains(row), "{shown}");
        }
        assert!(!shown.contains("authority"), "{shown}");
        let unfinished = json!({"items": [{"id": 1}, {"id": 2, "isBetweenAuthorities": true}]});
        assert!(summary(&group(), &unfinished).contains("half replaced"));
        let shown = pulses(&vitals);
        let [_, first, second] = &shown.lines().collect::<Vec<_>>()[..] else { panic!("{shown}") };
        assert_eq!(
            first.split_whitespace().collect::<Vec<_>>(),
            ["1", "a:1", "leader", "9", "4", "3.0.0", "1.500/20.001", "0.000/0.007", "-"]
        );
        assert!(second.ends_with("unreachable: b:1: connection refused"), "{second}");
        let columns: Vec<_> = second.split_whitespace().take(5).collect();
        assert_eq!(columns, ["2", "b:1", "voter", "-", "-"]);
    }

    #[test]
    fn the_command_for_a_new_replica_names_all_that_are_known() {
        let group =
            json!({"replicas": [{"id": 1, "address": "a:1"}, {"id": 2, "address": ""}, {"id": 3, "address": "c:1"}]});
        let shown = joining(&group, "d:5684", Path::new("token")).unwrap();
        assert!(shown.contains("KUMA_STORE_RAFT_LISTEN=0.0.0.0:5684 KUMA_STORE_RAFT_ADVERTISE=d:5684"), "{shown}");
        assert!(shown.contains("KUMA_STORE_RAFT_JOIN_TOKEN_FILE=token kuma-cp run --join a:1 --join c:1\n"), "{shown}");
        assert!(joining(&group, "d", Path::new("token")).is_err());
        assert!(joining(&json!({}), "d:1", Path::new("token")).unwrap_err().to_string().contains("store.raft.listen"));
    }
}
