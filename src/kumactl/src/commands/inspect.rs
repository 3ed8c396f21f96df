//! `kumactl inspect`.

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde_json::Value;

use crate::cli::{Format, InspectFlags};
use crate::client::Client;
use crate::commands::get::tags;
use crate::output::{ago, date, indent, table, time};
use crate::resources::by_argument;

/// Shows the state of dataplanes, zones, meshes and policies.
///
/// # Errors
/// Flags that do not fit together, or what the control plane says.
pub(crate) async fn run(flags: &InspectFlags, client: &Client, now: Timestamp) -> Result<()> {
    let text = match (flags.what.as_str(), &flags.name) {
        ("dataplanes", None) => dataplanes(flags, client, now).await?,
        ("dataplane", Some(name)) => dataplane(flags, name, client).await?,
        ("zones", None) => zones(flags, client, now).await?,
        ("meshes", None) => meshes(flags, client).await?,
        ("dataplanes" | "zones" | "meshes", Some(_)) => bail!("accepts 0 arg(s), received 1"),
        ("dataplane", None) => bail!("accepts 1 arg(s), received 0"),
        (what, name) => match (by_argument(what).filter(|kind| kind.is_policy), name) {
            (Some(kind), Some(name)) => policy(flags, kind.path, name, client).await?,
            (Some(_), None) => bail!("accepts 1 arg(s), received 0"),
            (None, _) => bail!("unknown command {what:?} for \"kumactl inspect\""),
        },
    };
    print!("{text}");
    Ok(())
}

/// The body in the asked format, or as columns.
fn formatted(format: Format, body: &str, columns: impl Fn(&Value) -> String) -> Result<String> {
    let value: Value = serde_json::from_str(body).context("the answer is not JSON")?;
    Ok(match format {
        Format::Json => indent(body),
        Format::Yaml => model::yaml::to_string(&value),
        Format::Table => columns(&value),
    })
}

fn items(list: &Value) -> &[Value] {
    list.get("items").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A number that protobuf's JSON may write as text.
fn number(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::Number(number)) => number.as_u64().unwrap_or(0),
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        _ => 0,
    }
}

fn subscriptions(insight: Option<&Value>) -> &[Value] {
    insight.and_then(|i| i.get("subscriptions")).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn is_online(insight: Option<&Value>) -> bool {
    subscriptions(insight).iter().any(|s| s.get("connectTime").is_some() && s.get("disconnectTime").is_none())
}

fn sum(insight: Option<&Value>, pointer: &str) -> String {
    subscriptions(insight).iter().map(|s| number(s.pointer(pointer))).sum::<u64>().to_string()
}

async fn dataplanes(flags: &InspectFlags, client: &Client, now: Timestamp) -> Result<String> {
    let mut query = Vec::new();
    if flags.gateway {
        query.push("gateway=true".to_owned());
    }
    if flags.ingress {
        query.push("ingress=true".to_owned());
    }
    for tag in &flags.tag {
        let (key, value) = tag.split_once('=').with_context(|| format!("{tag} must be formatted as key=value"))?;
        query.push(format!("tag={key}:{value}"));
    }
    let mut path = format!("/meshes/{}/dataplanes/_overview", flags.mesh);
    if !query.is_empty() {
        path = format!("{path}?{}", query.join("&"));
    }
    formatted(flags.output, &client.get(&path).await?, |list| dataplane_rows(list, now))
}

const DATAPLANE_HEADERS: &[&str] = &[
    "MESH",
    "NAME",
    "TAGS",
    "STATUS",
    "LAST CONNECTED AGO",
    "LAST UPDATED AGO",
    "TOTAL UPDATES",
    "TOTAL ERRORS",
    "CERT REGENERATED AGO",
    "CERT EXPIRATION",
    "CERT REGENERATIONS",
    "CERT BACKEND",
    "SUPPORTED CERT BACKENDS",
    "KUMA-DP VERSION",
    "ENVOY VERSION",
    "DEPENDENCIES VERSIONS",
    "NOTES",
];

fn dataplane_rows(list: &Value, now: Timestamp) -> String {
    table(DATAPLANE_HEADERS, &items(list).iter().map(|overview| dataplane_row(overview, now)).collect::<Vec<_>>())
}

fn dataplane_row(overview: &Value, now: Timestamp) -> Vec<String> {
    let insight = overview.get("dataplaneInsight");
    let last = subscriptions(insight).last().cloned().unwrap_or_default();
    let mtls = insight.and_then(|i| i.get("mTLS")).cloned();
    let mtls_text = |field: &str| mtls.as_ref().map(|m| text(m, field));
    let supported = mtls.as_ref().and_then(|m| m.get("supportedBackends")).and_then(Value::as_array);
    let supported = supported.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(",");
    let dependencies = last.pointer("/version/dependencies").and_then(Value::as_object);
    let dependencies: Vec<_> = dependencies
        .into_iter()
        .flatten()
        .map(|(name, version)| format!("{name}: {}", version.as_str().unwrap_or_default()))
        .collect();
    let (status, notes) = status(overview, is_online(insight));
    let mut merged = overview.get("dataplane").cloned().unwrap_or_default();
    if let (Some(fields), Some(labels)) = (merged.as_object_mut(), overview.get("labels")) {
        fields.insert("labels".to_owned(), labels.clone());
    }
    vec![
        text(overview, "/mesh"),
        text(overview, "/name"),
        tags(&merged),
        status.to_owned(),
        ago(time(last.get("connectTime")), now),
        ago(time(last.pointer("/status/lastUpdateTime")), now),
        sum(insight, "/status/total/responsesSent"),
        sum(insight, "/status/total/responsesRejected"),
        ago(time(mtls.as_ref().and_then(|m| m.get("lastCertificateRegeneration"))), now),
        date(time(mtls.as_ref().and_then(|m| m.get("certificateExpirationTime")))),
        number(mtls.as_ref().and_then(|m| m.get("certificateRegenerations"))).to_string(),
        mtls_text("/issuedBackend").unwrap_or_else(|| "-".to_owned()),
        if mtls.is_some() { supported } else { "-".to_owned() },
        text(&last, "/version/kumaDp/version"),
        text(&last, "/version/envoy/version"),
        if dependencies.is_empty() { "-".to_owned() } else { dependencies.join(", ") },
        notes.join(";"),
    ]
}

/// Online, offline or in between, and what is not ready.
fn status(overview: &Value, online: bool) -> (&'static str, Vec<String>) {
    let networking = overview.pointer("/dataplane/networking");
    if networking.is_some_and(|n| n.get("gateway").is_some()) {
        return (if online { "Online" } else { "Offline" }, Vec::new());
    }
    let list = |field| networking.and_then(|n| n.get(field)).and_then(Value::as_array).into_iter().flatten();
    let (mut total, mut notes) = (0, Vec::new());
    for inbound in list("inbound") {
        total += 1;
        let unhealthy = inbound.pointer("/health/ready").is_some_and(|ready| ready == false)
            || inbound.get("health").is_some_and(|health| health.get("ready").is_none());
        if unhealthy || text(inbound, "/state") == "NotReady" {
            notes.push(format!("inbound[port={}] is not ready", number(inbound.get("port"))));
        }
    }
    for listener in list("listeners") {
        total += 1;
        if text(listener, "/state") == "NotReady" {
            let (port, ty) = (number(listener.get("port")), text(listener, "/type"));
            notes.push(format!("listener[port={port},type={ty}] is not ready"));
        }
    }
    if !online || notes.len() == total {
        ("Offline", notes)
    } else if notes.is_empty() {
        ("Online", notes)
    } else {
        ("Partially degraded", notes)
    }
}

async fn dataplane(flags: &InspectFlags, name: &str, client: &Client) -> Result<String> {
    let inspection = flags.inspection.as_str();
    if flags.shadow && inspection != "config" {
        bail!("flag '--shadow' can be used only when '--type=config'");
    }
    if !flags.include.is_empty() && inspection != "config" {
        bail!("flag '--include' can be used only when '--type=config'");
    }
    if flags.include_eds && inspection != "config-dump" {
        bail!("flag '--include-eds' can be used only when '--type=config-dump'");
    }
    let base = format!("/meshes/{}/dataplanes/{name}", flags.mesh);
    match inspection {
        "policies" => formatted(flags.output, &client.get(&format!("{base}/_policies")).await?, policy_rows),
        "config-dump" => client.get(&format!("{base}/xds?include_eds={}", flags.include_eds)).await,
        "stats" => client.get(&format!("{base}/stats")).await,
        "clusters" => client.get(&format!("{base}/clusters")).await,
        "faults" => formatted(flags.output, &client.get(&format!("{base}/_faults")).await?, fault_rows),
        "config" => {
            let include: String = flags.include.iter().map(|part| format!("include={part}&")).collect();
            client.get(&format!("{base}/_config?{include}shadow={}", flags.shadow)).await
        }
        _ => bail!("invalid inspection type"),
    }
}

fn policy_rows(body: &Value) -> String {
    let policies = body.get("policies").and_then(Value::as_array);
    let rows = policies.into_iter().flatten().map(|policy| {
        let origins = policy.get("origins").and_then(Value::as_array);
        let origins: Vec<_> = origins.into_iter().flatten().map(|origin| text(origin, "/kri")).collect();
        vec![text(policy, "/kind"), origins.join(",")]
    });
    table(&["Kind", "Origins"], &rows.collect::<Vec<_>>())
}

/// What could not be applied to a proxy, and what it refused.
fn fault_rows(list: &Value) -> String {
    let row = |fault: &Value| {
        let origins = fault.get("origins").and_then(Value::as_array).into_iter().flatten();
        let origins: Vec<_> = origins.map(|o| format!("{} {}", text(o, "/type"), text(o, "/name"))).collect();
        vec![text(fault, "/dataplane"), origins.join(", "), text(fault, "/envoyResource"), text(fault, "/message")]
    };
    table(&["Dataplane", "Origin", "Refused by Envoy", "Why"], &items(list).iter().map(row).collect::<Vec<_>>())
}

async fn zones(flags: &InspectFlags, client: &Client, now: Timestamp) -> Result<String> {
    let headers = &[
        "NAME",
        "STATUS",
        "LAST CONNECTED AGO",
        "LAST UPDATED AGO",
        "TOTAL UPDATES",
        "TOTAL ERRORS",
        "ZONE-CP VERSION",
        "BACKEND",
    ];
    let body = client.get("/zones/_overview").await?;
    let list: Value = serde_json::from_str(&body).context("the answer is not JSON")?;
    let mut rows = Vec::new();
    for overview in items(&list) {
        let insight = overview.get("zoneInsight");
        let last = subscriptions(insight).last().cloned().unwrap_or_default();
        let enabled = overview.pointer("/zone/enabled").is_none_or(|enabled| enabled != false);
        let config = text(&last, "/config");
        let backend = if config.is_empty() {
            String::new()
        } else {
            let config: Value = serde_json::from_str(&config).context("could not unmarshal CP config")?;
            text(&config, "/store/type")
        };
        rows.push(vec![
            text(overview, "/name"),
            if is_online(insight) && enabled { "Online" } else { "Offline" }.to_owned(),
            ago(time(last.get("connectTime")), now),
            ago(time(last.pointer("/status/lastUpdateTime")), now),
            sum(insight, "/status/total/responsesSent"),
            sum(insight, "/status/total/responsesRejected"),
            text(&last, "/version/kumaCp/version"),
            backend,
        ]);
    }
    formatted(flags.output, &body, |_| table(headers, &rows))
}

async fn meshes(flags: &InspectFlags, client: &Client) -> Result<String> {
    formatted(flags.output, &client.get("/mesh-insights").await?, |list| {
        let rows = items(list).iter().map(|insight| {
            let count = |field: &str| number(insight.pointer(&format!("/dataplanes/{field}")));
            vec![text(insight, "/name"), format!("{}/{}", count("online"), count("total"))]
        });
        table(&["MESH", "DATAPLANES"], &rows.collect::<Vec<_>>())
    })
}

async fn policy(flags: &InspectFlags, kind_path: &str, name: &str, client: &Client) -> Result<String> {
    let base = format!("/meshes/{}/{kind_path}/{name}", flags.mesh);
    if flags.inspection == "faults" {
        return formatted(flags.output, &client.get(&format!("{base}/_faults")).await?, fault_rows);
    }
    if flags.new_api {
        let body = client.get(&format!("{base}/-resources/dataplanes")).await?;
        return formatted(flags.output, &body, |list| {
            let rows = items(list).iter().map(|r| vec![text(r, "/type"), text(r, "/mesh"), text(r, "/name")]);
            let mut columns = table(&["Type", "Mesh", "Name"], &rows.collect::<Vec<_>>());
            columns.push_str(&format!("\nTotal: {}\n", number(list.get("total"))));
            columns
        });
    }
    let list: Value = serde_json::from_str(&client.get(&format!("{base}/dataplanes")).await?)?;
    let mut out = "Affected data plane proxies:\n\n".to_owned();
    for entry in items(&list) {
        let name = text(entry, "/dataplane/name");
        let attachments = entry.get("attachments").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if let [only] = attachments
            && text(only, "/type") == "dataplane"
        {
            out.push_str(&format!("  {name}\n"));
            continue;
        }
        out.push_str(&format!("  {name}:\n"));
        for attachment in attachments {
            let (ty, name, service) =
                (text(attachment, "/type"), text(attachment, "/name"), text(attachment, "/service"));
            let line = match ty.as_str() {
                "dataplane" => ty,
                "service" => format!("service {name}"),
                _ => format!("{ty} {name}({service})"),
            };
            out.push_str(&format!("    {line}\n"));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn policies_are_listed_with_their_origins() {
        let body = json!({"policies": [
            {"kind": "MeshTimeout", "origins": [{"kri": "kri_mt_a___x_"}, {"kri": "kri_mt_a___y_"}]}]});
        assert_eq!(policy_rows(&body), "Kind          Origins\nMeshTimeout   kri_mt_a___x_,kri_mt_a___y_\n");
    }

    #[test]
    fn faults_are_listed_with_where_they_come_from() {
        let fault = |origins: Value, refused: Value| json!({"mesh": "m", "dataplane": "web", "origins": origins, "envoyResource": refused, "message": "no"});
        let patch = json!([{"type": "MeshProxyPatch", "mesh": "m", "name": "p"}]);
        let rows = fault_rows(&json!({"items": [fault(patch, Value::Null), fault(json!([]), json!("added"))]}));
        let expected = "Dataplane   Origin             Refused by Envoy   Why\n\
                        web         MeshProxyPatch p                      no\n\
                        web                            added              no\n";
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_dataplane_is_as_online_as_its_inbounds() {
        let overview = |inbound: Value| json!({"dataplane": {"networking": {"inbound": inbound}}});
        let half = overview(json!([{"port": 1}, {"port": 2, "state": "NotReady"}]));
        assert_eq!(status(&half, true), ("Partially degraded", vec!["inbound[port=2] is not ready".to_owned()]));
        assert_eq!(status(&half, false).0, "Offline");
        assert_eq!(status(&overview(json!([{"port": 1}])), true), ("Online", Vec::new()));
        assert_eq!(status(&overview(json!([])), true).0, "Offline");
    }
}
