//! The settings: files over defaults, the environment over files, flags over all.

use anyhow::{Context, Result, bail};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// What the names of variables begin with.
const ENV_PREFIX: &str = "KUMA_TRANSPARENT_PROXY_";

/// Address families to redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FamilyMode {
    Dualstack,
    Ipv4,
}

/// A list that may be written as one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List<T>(pub(super) Vec<T>);

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    #[serde(rename = "kumaDPUser", deserialize_with = "text")]
    pub(super) kuma_dp_user: String,
    pub(super) ip_family_mode: FamilyMode,
    pub(super) redirect: Redirect,
    #[serde(deserialize_with = "parsed")]
    pub(super) drop_invalid_packets: bool,
    pub(super) log: Log,
    #[serde(deserialize_with = "parsed")]
    pub(super) wait: u32,
    #[serde(deserialize_with = "parsed")]
    pub(super) wait_interval: u32,
    pub(super) retry: Retry,
    #[serde(deserialize_with = "parsed")]
    pub(super) store_firewalld: bool,
    pub(super) iptables_executables: Value,
    pub(super) comments: Comments,
    #[serde(deserialize_with = "parsed")]
    pub(super) verbose: bool,
    #[serde(deserialize_with = "parsed")]
    pub(super) dry_run: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Redirect {
    pub(super) inbound: Direction,
    pub(super) outbound: Direction,
    pub(super) dns: Dns,
    pub(super) vnet: Vnet,
}

/// Redirection of one direction.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Direction {
    #[serde(deserialize_with = "parsed")]
    pub(super) enabled: bool,
    #[serde(deserialize_with = "parsed")]
    pub(super) port: u16,
    pub(super) include_ports: List<u16>,
    pub(super) exclude_ports: List<u16>,
    #[serde(rename = "excludePortsForUIDs")]
    pub(super) exclude_ports_for_uids: Vec<Value>,
    #[serde(rename = "excludePortsForIPs")]
    pub(super) exclude_ports_for_ips: Vec<String>,
    #[serde(deserialize_with = "parsed")]
    pub(super) insert_redirect_instead_of_append: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dns {
    #[serde(deserialize_with = "parsed")]
    pub(super) enabled: bool,
    #[serde(deserialize_with = "parsed")]
    pub(super) capture_all: bool,
    #[serde(deserialize_with = "parsed")]
    pub(super) port: u16,
    #[serde(deserialize_with = "parsed")]
    pub(super) skip_conntrack_zone_split: bool,
    pub(super) resolv_config_path: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Vnet {
    pub(super) networks: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Log {
    #[serde(deserialize_with = "parsed")]
    pub(super) enabled: bool,
    #[serde(deserialize_with = "parsed")]
    pub(super) level: u16,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Retry {
    #[serde(deserialize_with = "parsed")]
    pub(super) max_retries: u32,
    #[serde(deserialize_with = "text")]
    pub(super) sleep_between_retries: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Comments {
    #[serde(deserialize_with = "parsed")]
    pub(super) disabled: bool,
}

fn direction(port: u16) -> Value {
    json!({"enabled": true, "port": port, "includePorts": [], "excludePorts": [], "excludePortsForUIDs": [],
        "excludePortsForIPs": [], "insertRedirectInsteadOfAppend": false})
}

/// Kuma's defaults.
pub(super) fn defaults() -> Value {
    json!({
        "kumaDPUser": "", "ipFamilyMode": "dualstack",
        "redirect": {
            "inbound": direction(15006), "outbound": direction(15001),
            "dns": {"enabled": false, "captureAll": false, "port": 15053, "skipConntrackZoneSplit": false,
                "resolvConfigPath": "/etc/resolv.conf"},
            "vnet": {"networks": []},
        },
        "dropInvalidPackets": false, "log": {"enabled": false, "level": 7}, "wait": 5, "waitInterval": 0,
        "retry": {"maxRetries": 4, "sleepBetweenRetries": "2s"}, "storeFirewalld": false,
        "iptablesExecutables": {}, "comments": {"disabled": false}, "verbose": false, "dryRun": false,
    })
}

impl Config {
    /// Reads finished settings.
    ///
    /// # Errors
    /// The first value that cannot be used, with its key.
    pub(super) fn read(settings: &Value) -> Result<Self> {
        let mut config: Self =
            Self::deserialize(settings).context("failed to load configuration from provided input")?;
        config.redirect.dns.enabled |= config.redirect.dns.capture_all;
        if config.store_firewalld {
            bail!(
                "--store-firewalld is not supported: let firewalld keep away from the chains of {}",
                super::CHAIN_PREFIX
            );
        }
        Ok(config)
    }
}

/// Puts the fields of one document over another.
pub(super) fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (base, over) => *base = over,
    }
}

/// Sets a key, given with dots between its parts.
pub(super) fn set(settings: &mut Value, key: &str, value: Value) {
    let document = key.rsplit('.').fold(value, |inner, part| json!({part: inner}));
    merge(settings, document);
}

/// Takes variables of the environment.
pub(super) fn apply_env(settings: &mut Value, lookup: impl Fn(&str) -> Option<String>) {
    let mut keys = Vec::new();
    collect_keys(&defaults(), "", &mut keys);
    for (key, is_list) in keys {
        let Some(value) = lookup(&variable(&key)) else { continue };
        let value = if is_list && !key.ends_with("Ports") {
            value.split(',').filter(|part| !part.is_empty()).map(Value::from).collect()
        } else {
            Value::from(value)
        };
        set(settings, &key, value);
    }
}

fn collect_keys(value: &Value, path: &str, keys: &mut Vec<(String, bool)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect_keys(field, &path, keys);
            }
        }
        other => keys.push((path.to_owned(), other.is_array())),
    }
}

/// `redirect.inbound.excludePortsForIPs` is `…REDIRECT_INBOUND_EXCLUDE_PORTS_FOR_IPS`.
fn variable(key: &str) -> String {
    let key = key.replace("UIDs", "Uids").replace("IPs", "Ips").replace("DPU", "DpU");
    let mut name = ENV_PREFIX.to_owned();
    for c in key.chars() {
        match c {
            '.' => name.push('_'),
            upper if upper.is_ascii_uppercase() => {
                name.push('_');
                name.push(upper);
            }
            lower => name.push(lower.to_ascii_uppercase()),
        }
    }
    name
}

/// A value as it is, or as the text of it.
fn parsed<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let value = match &value {
        Value::String(text) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    };
    T::deserialize(&value).map_err(|_| D::Error::custom(format!("unusable value {value}")))
}

/// A text, or the number that was meant as one.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    })
}

impl<'de> Deserialize<'de> for FamilyMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "dualstack" => Ok(Self::Dualstack),
            "ipv4" => Ok(Self::Ipv4),
            _ => Err(D::Error::custom("must be one of 'dualstack' or 'ipv4'")),
        }
    }
}

impl<'de> Deserialize<'de> for List<u16> {
    /// Ports: a list, a number, or numbers with commas between.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts: Vec<String> = match Value::deserialize(deserializer)? {
            Value::Array(items) => items.iter().map(|item| item.to_string().trim_matches('"').to_owned()).collect(),
            Value::String(text) => text.split(',').map(str::to_owned).collect(),
            Value::Null => Vec::new(),
            other => vec![other.to_string()],
        };
        let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        let port = |text: &str| {
            let port = text.parse().ok().filter(|port: &u16| *port > 0);
            port.ok_or_else(|| {
                D::Error::custom(format!("value '{text}' is not a valid port (uint16 in the range [1, 65535])"))
            })
        };
        Ok(Self(texts.map(port).collect::<Result<_, _>>()?))
    }
}
