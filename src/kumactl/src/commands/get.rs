//! `kumactl get`.

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use model::registry::DATAPLANE;
use model::{Form, Kind, Scope};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::{Format, GetFlags};
use crate::client::Client;
use crate::output::{ago, indent, resource_yaml, table, time};
use crate::resources::{by_argument, by_list_argument, item_path, list_path};

/// Shows one resource or a list.
///
/// # Errors
/// An unknown type or resource, or what the control plane says.
pub(crate) async fn run(flags: &GetFlags, client: &Client, now: Timestamp) -> Result<()> {
    let text = match &flags.name {
        Some(name) => match by_argument(&flags.kind) {
            Some(kind) => item(flags, kind, name, client, now).await?,
            None => bail!("unknown command {:?} for \"kumactl get\"", flags.kind),
        },
        None => match (by_list_argument(&flags.kind), by_argument(&flags.kind)) {
            (Some(kind), _) => list(flags, kind, client, now).await?,
            (None, Some(_)) => bail!("accepts 1 arg(s), received 0"),
            (None, None) => bail!("unknown command {:?} for \"kumactl get\"", flags.kind),
        },
    };
    print!("{text}");
    Ok(())
}

async fn item(flags: &GetFlags, kind: Kind, name: &str, client: &Client, now: Timestamp) -> Result<String> {
    let answer = client.send(Method::GET, &item_path(kind, &flags.mesh, name), None).await?;
    if answer.status.as_u16() == 404 {
        match kind.scope {
            Scope::Mesh => bail!("No resources found in {} mesh", flags.mesh),
            Scope::Global => bail!("No resources found"),
        }
    }
    let body = answer.success().with_context(|| format!("failed to get {name} in mesh {}", flags.mesh))?;
    let document: Value = serde_json::from_str(&body).context("the answer is not JSON")?;
    Ok(match flags.output {
        Format::Json => indent(&body),
        Format::Yaml => resource_yaml(&document, kind.form == Form::Proto),
        Format::Table => rows(kind, std::slice::from_ref(&document), now),
    })
}

/// A list as the API answers it; items keep their text.
#[derive(Deserialize)]
struct List<'a> {
    total: u64,
    #[serde(borrow, default)]
    items: Vec<&'a RawValue>,
    #[serde(default)]
    next: Option<String>,
}

async fn list(flags: &GetFlags, kind: Kind, client: &Client, now: Timestamp) -> Result<String> {
    let mut query = Vec::new();
    if !flags.offset.is_empty() {
        query.push(format!("offset={}", flags.offset));
    }
    if flags.size > 0 {
        query.push(format!("size={}", flags.size));
    }
    let path = list_path(kind, &flags.mesh);
    let path = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
    let body = client.get(&path).await.with_context(|| format!("failed to list {kind}"))?;
    let list: List<'_> = serde_json::from_str(&body).context("the answer is not a list")?;
    let items: Vec<&str> = list.items.iter().map(|item| item.get()).collect();
    match flags.output {
        Format::Json => {
            Ok(indent(&format!("{{\"total\":{},\"items\":[{}],\"next\":null}}", list.total, items.join(","))))
        }
        Format::Yaml => {
            let items = documents(&items)?;
            let list = serde_json::json!({"total": list.total, "items": items, "next": null});
            Ok(model::yaml::to_string(&list))
        }
        Format::Table => {
            let mut text = rows(kind, &documents(&items)?, now);
            if let Some(offset) = list.next.as_deref().and_then(offset_of) {
                text.push_str(&format!("\nRerun command with --offset={offset} argument to retrieve more resources\n"));
            }
            Ok(text)
        }
    }
}

fn documents(items: &[&str]) -> Result<Vec<Value>> {
    items.iter().map(|item| serde_json::from_str(item).context("an item is not JSON")).collect()
}

fn offset_of(next: &str) -> Option<String> {
    let url = Url::parse(next).ok()?;
    url.query_pairs().find(|(name, _)| name == "offset").map(|(_, value)| value.into_owned())
}

fn rows(kind: Kind, documents: &[Value], now: Timestamp) -> String {
    let text =
        |document: &Value, field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    if kind.scope == Scope::Mesh {
        headers.push("MESH");
    }
    headers.push("NAME");
    if kind == DATAPLANE {
        headers.extend(["TAGS", "ADDRESS"]);
    }
    headers.push("AGE");
    let row = |document: &Value| {
        let mut row = Vec::new();
        if kind.scope == Scope::Mesh {
            row.push(text(document, "mesh"));
        }
        row.push(text(document, "name"));
        if kind == DATAPLANE {
            row.push(tags(document));
            let address = document.pointer("/networking/address").and_then(Value::as_str);
            row.push(address.unwrap_or_default().to_owned());
        }
        row.push(ago(time(document.get("modificationTime")), now));
        row
    };
    table(&headers, &documents.iter().map(row).collect::<Vec<_>>())
}

/// Labels and the tags of a gateway, as `key=value`, sorted.
pub(crate) fn tags(dataplane: &Value) -> String {
    let networking = dataplane.get("networking");
    let gateway = networking.and_then(|n| n.pointer("/gateway/tags"));
    let mut all = std::collections::BTreeMap::<&str, std::collections::BTreeSet<&str>>::new();
    for pairs in [dataplane.get("labels"), gateway].into_iter().flatten().filter_map(Value::as_object) {
        for (key, value) in pairs {
            all.entry(key).or_default().insert(value.as_str().unwrap_or_default());
        }
    }
    let join = |values: std::collections::BTreeSet<&str>| values.into_iter().collect::<Vec<_>>().join(",");
    all.into_iter().map(|(key, values)| format!("{key}={}", join(values))).collect::<Vec<_>>().join(" ")
}
