//! Takes out of configurations what differs from run to run.

use serde_json::Value;

const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const LISTENERS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// A document of `_config` without what differs from run to run.
pub(super) fn normal(document: &Value) -> Value {
    let mut document = document.clone();
    if let Some(listeners) = document["xds"].get_mut(LISTENERS).and_then(Value::as_object_mut) {
        listeners.remove("system_dynamicconfig");
    }
    for name in ["system_envoy_admin", "system_probe_readiness"] {
        hide_addresses(&mut document["xds"][LISTENERS][name]);
        hide_addresses(&mut document["xds"][CLUSTERS][name]);
    }
    for ty in [CLUSTERS, LISTENERS] {
        if let Some(resources) = document["xds"].get_mut(ty).and_then(Value::as_object_mut) {
            resources.retain(|_, resource| !resource.is_null());
        }
    }
    redact("", &mut document);
    if let Some(ops) = document["diff"].as_array_mut() {
        normalise_diff(ops);
    }
    document
}

/// The address of a listener and those of the endpoints of a cluster.
fn hide_addresses(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(address) =
                fields.get_mut("address").filter(|a| a.get("socketAddress").is_some() || a.get("pipe").is_some())
            {
                *address = serde_json::json!({"socketAddress": {"address": "ADMIN_REDACTED", "portValue": 0}});
            }
            fields.values_mut().for_each(hide_addresses);
        }
        Value::Array(items) => items.iter_mut().for_each(hide_addresses),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn redact(key: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("dnsLookupFamily");
            fields.iter_mut().for_each(|(key, field)| redact(key, field));
            if let Some(bundle) = fields.get_mut("trustBundle").and_then(|bundle| bundle.get_mut("inlineBytes")) {
                *bundle = Value::from("CERT_REDACTED");
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact(key, item)),
        Value::String(_) if key == "statPrefix" => *value = Value::from("STAT_PREFIX_REDACTED"),
        Value::String(text) => *text = without_addresses(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces addresses, as whole words of digits, dots and colons.
fn without_addresses(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !is_part(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        let joined = before.chars().next_back().or(out.chars().next_back().filter(|_| before.is_empty()));
        let is_word = joined.is_none_or(|c| !c.is_ascii_alphanumeric());
        out.push_str(before);
        out.push_str(&if is_word { word_without_address(word) } else { word.to_owned() });
        rest = after;
    }
    out + rest
}

fn word_without_address(word: &str) -> String {
    if word.parse::<std::net::IpAddr>().is_ok() {
        return "IP_REDACTED".to_owned();
    }
    match word.rsplit_once(':') {
        Some((address, port)) if address.parse::<std::net::Ipv4Addr>().is_ok() => format!("IP_REDACTED:{port}"),
        _ => word.to_owned(),
    }
}

fn normalise_diff(ops: &mut Vec<Value>) {
    ops.retain(|op| {
        let path = op["path"].as_str().unwrap_or_default();
        op["op"] != "test"
            && !path.ends_with("maxDirectResponseBodySizeBytes")
            && !path.ends_with("system_dynamicconfig")
    });
    ops.sort_by(|a, b| {
        let key = |op: &Value| (op["path"].to_string(), op["op"] != "remove");
        let by_path = key(a).cmp(&key(b));
        let last = a["path"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let is_index = last == "-" || last.parse::<usize>().is_ok();
        if is_index && a["op"] == "add" && b["op"] == "add" {
            return by_path;
        }
        by_path.then_with(|| a["value"].to_string().cmp(&b["value"].to_string()))
    });
}
