//! The effective configuration as one document: defaults, then the file, then the environment.

use model::kinds::duration::GoDuration;
use serde_json::{Map, Value};

use super::SettingsError;
use super::table::{Entry, Holds, OTHER_SPELLINGS, keys};

/// The whole configuration. Every key of the table is in it, with a value of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tree(Value);

/// What is shown instead of a secret.
const MASK: &str = "*****";

impl Tree {
    /// The defaults.
    pub(super) fn defaults() -> Self {
        let mut tree = Self(Value::Object(Map::new()));
        for entry in keys() {
            let value = match entry.holds {
                Holds::Text(text) => Value::from(text),
                Holds::Flag(flag) => Value::from(flag),
                Holds::Number(number) => Value::from(number),
                Holds::Time(text) => {
                    Value::from(text.parse::<GoDuration>().map_or_else(|_| text.to_owned(), |d| d.to_string()))
                }
                Holds::List(items) => Value::from(items.to_vec()),
                Holds::Map(pairs) => pairs.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect(),
                Holds::Structs(json) => serde_json::from_str(json).unwrap_or(Value::Null),
            };
            tree.set(entry.path, value);
        }
        tree
    }

    /// Lays a file's document over it. Keys match in any case; unknown ones come back as warnings.
    ///
    /// # Errors
    /// A value of another kind than its key holds.
    pub(super) fn overlay(&mut self, document: &Value) -> Result<Vec<String>, SettingsError> {
        let mut unknown = Vec::new();
        if !document.is_null() {
            self.overlay_below("", document, &mut unknown)?;
        }
        Ok(unknown)
    }

    fn overlay_below(&mut self, at: &str, value: &Value, unknown: &mut Vec<String>) -> Result<(), SettingsError> {
        if value.is_null() {
            return Ok(());
        }
        if let Some(entry) = keys().find(|entry| entry.path.eq_ignore_ascii_case(at)) {
            let value = from_file(entry, value)?;
            self.set(entry.path, value);
            return Ok(());
        }
        let is_branch = |path: &str| {
            let inside = |entry: &&Entry| entry.path.len() > path.len() && entry.path.is_char_boundary(path.len());
            path.is_empty()
                || keys().filter(inside).any(|entry| {
                    entry.path[..path.len()].eq_ignore_ascii_case(path) && entry.path[path.len()..].starts_with('.')
                })
        };
        if !is_branch(at) {
            unknown.push(at.to_owned());
            return Ok(());
        }
        let Value::Object(fields) = value else { return Err(SettingsError::kind(at, "a section", value)) };
        for (key, value) in fields {
            let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            self.overlay_below(&path, value, unknown)?;
        }
        Ok(())
    }

    /// Lays the environment over it; `variable` gives the value of one.
    ///
    /// # Errors
    /// A text that is no value of its key's kind.
    pub(super) fn overlay_env(&mut self, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), SettingsError> {
        for entry in keys().filter(|entry| !entry.env.is_empty()) {
            let name = format!("KUMA_{}", entry.env);
            let other = OTHER_SPELLINGS.iter().find(|(env, _)| *env == entry.env).map(|(_, other)| {
                if other.starts_with("kuma_") { (*other).to_owned() } else { format!("KUMA_{other}") }
            });
            let Some(text) = variable(&name).or_else(|| other.and_then(|other| variable(&other))) else { continue };
            let value = from_env(entry, &name, &text)?;
            self.set(entry.path, value);
        }
        Ok(())
    }

    /// The configuration without secrets, as it is logged and served.
    pub(crate) fn masked(&self) -> Value {
        let mut tree = self.clone();
        tree.set("store.postgres.password", Value::from(MASK));
        for kind in ["apiServer.authn.tokens", "dpServer.authn.dpProxy.dpToken", "dpServer.authn.zoneProxy.zoneToken"] {
            if let Some(Value::Array(public_keys)) = tree.get_mut(&format!("{kind}.validator.publicKeys")) {
                for key in public_keys.iter_mut().filter_map(|key| key.get_mut("key")) {
                    *key = Value::from(MASK);
                }
            }
        }
        tree.0
    }

    pub(super) fn set(&mut self, path: &str, value: Value) {
        let mut at = &mut self.0;
        for segment in path.split('.') {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = &mut at[segment];
        }
        *at = value;
    }

    fn get(&self, path: &str) -> &Value {
        let found = path.split('.').try_fold(&self.0, |at, segment| at.get(segment));
        debug_assert!(found.is_some(), "the table has no key {path}");
        found.unwrap_or(&Value::Null)
    }

    fn get_mut(&mut self, path: &str) -> Option<&mut Value> {
        path.split('.').try_fold(&mut self.0, |at, segment| at.get_mut(segment))
    }

    pub(super) fn text(&self, path: &str) -> &str {
        self.get(path).as_str().unwrap_or_default()
    }

    pub(super) fn flag(&self, path: &str) -> bool {
        self.get(path).as_bool().unwrap_or_default()
    }

    pub(super) fn number(&self, path: &str) -> i64 {
        self.get(path).as_i64().unwrap_or_default()
    }

    pub(super) fn time(&self, path: &str) -> GoDuration {
        self.text(path).parse().unwrap_or_else(|_| GoDuration::from_secs(0))
    }

    pub(super) fn list(&self, path: &str) -> Vec<String> {
        let items = self.get(path).as_array().into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }

    pub(super) fn structs(&self, path: &str) -> &[Value] {
        self.get(path).as_array().map_or(&[], Vec::as_slice)
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn from_file(entry: &Entry, value: &Value) -> Result<Value, SettingsError> {
    let bad = |expected: &'static str| SettingsError::kind(entry.path, expected, value);
    match entry.holds {
        Holds::Text(_) => scalar(value).map(Value::from).ok_or_else(|| bad("a text")),
        Holds::Flag(_) => match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::String(text) => text.parse::<bool>().map(Value::from).map_err(|_| bad("true or false")),
            _ => Err(bad("true or false")),
        },
        Holds::Number(_) => {
            let whole = scalar(value).and_then(|text| text.parse::<i64>().ok());
            whole.map(Value::from).ok_or_else(|| bad("a whole number"))
        }
        Holds::Time(_) => {
            let text = match value {
                Value::Number(nanoseconds) => format!("{nanoseconds}ns"),
                other => scalar(other).ok_or_else(|| bad("a duration"))?,
            };
            text.parse::<GoDuration>().map(|d| Value::from(d.to_string())).map_err(|_| bad("a duration"))
        }
        Holds::List(_) => {
            let items = value.as_array().ok_or_else(|| bad("a list"))?;
            items.iter().map(|item| scalar(item).map(Value::from).ok_or_else(|| bad("a list of texts"))).collect()
        }
        Holds::Map(_) => {
            let pairs = value.as_object().ok_or_else(|| bad("a map"))?;
            let pairs = pairs.iter().map(|(key, value)| {
                scalar(value).map(|text| (key.clone(), Value::from(text))).ok_or_else(|| bad("a map of texts"))
            });
            Ok(Value::Object(pairs.collect::<Result<_, _>>()?))
        }
        Holds::Structs(_) => Ok(value.clone()),
    }
}

fn from_env(entry: &Entry, name: &str, text: &str) -> Result<Value, SettingsError> {
    let bad = |to: &'static str| SettingsError::Environment { variable: name.to_owned(), text: text.to_owned(), to };
    let split = || text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Ok(match entry.holds {
        Holds::Text(_) => Value::from(text),
        Holds::Flag(_) => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Value::from(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Value::from(false),
            _ => return Err(bad("bool")),
        },
        Holds::Number(_) => Value::from(text.parse::<i64>().map_err(|_| bad("int"))?),
        Holds::Time(_) => Value::from(text.parse::<GoDuration>().map_err(|_| bad("time.Duration"))?.to_string()),
        Holds::List(_) => split().map(Value::from).collect(),
        Holds::Map(_) => {
            let pairs = split().map(|pair| pair.split_once(':').map(|(k, v)| (k.to_owned(), Value::from(v))));
            Value::Object(pairs.collect::<Option<_>>().ok_or_else(|| bad("map[string]string"))?)
        }
        Holds::Structs(_) => return Err(bad("list of structures")),
    })
}
