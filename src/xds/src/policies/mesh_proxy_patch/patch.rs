//! Changes of one message, made in its JSON form: as a merge, or as JSON Patch (RFC 6902).

use json_patch::PatchOperation;
use model::kinds::mesh_proxy_patch::{JsonPatch, PatchOp};
use prost::{Message, Name};
use serde_json::{Value, json};

use crate::json::{from_json, to_json};

/// What a modification does to a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'a> {
    /// YAML of a message that is merged into it.
    pub(super) value: Option<&'a str>,
    /// Or single changes of its JSON.
    pub(super) json_patches: Option<&'a [JsonPatch]>,
}

/// A message from YAML.
pub(super) fn read<T: Message + Name + Default>(yaml: Option<&str>) -> Result<T, String> {
    from_json(&read_json(yaml)?).map_err(|e| e.to_string())
}

fn read_json(yaml: Option<&str>) -> Result<Value, String> {
    let yaml = yaml.ok_or("value must be defined")?;
    model::yaml::read(yaml).map_err(|e| e.message)
}

impl Change<'_> {
    /// The message after the change.
    pub(super) fn apply<T: Message + Name + Default>(&self, message: &T) -> Result<T, String> {
        let mut json = to_json(message).map_err(|e| e.to_string())?;
        match self.json_patches {
            Some(patches) => apply_patches(&mut json, patches)?,
            // Read as a message first, so that either spelling of a field's name is one.
            None => merge(&mut json, to_json(&read::<T>(self.value)?).map_err(|e| e.to_string())?),
        }
        from_json(&json).map_err(|e| e.to_string())
    }

    /// The same for the configuration inside of a filter `T`; nothing when the change has none.
    pub(super) fn apply_to_config<T: Message + Name + Default>(&self, filter: &T) -> Result<T, String> {
        let mut json = to_json(filter).map_err(|e| e.to_string())?;
        let Some(config) = json.get_mut("typedConfig") else { return Err("the filter has no typedConfig".to_owned()) };
        match self.json_patches {
            Some(patches) => apply_patches(config, patches)?,
            None => {
                let mut change = to_json(&read::<T>(self.value)?).map_err(|e| e.to_string())?;
                let Some(change) = change.get_mut("typedConfig").map(Value::take) else {
                    return Ok(filter.clone_by_bytes());
                };
                if change["@type"] != config["@type"] {
                    return Err(format!(
                        "could not patch the resource: type URL of dst {} is different than src {}",
                        config["@type"], change["@type"]
                    ));
                }
                merge_fields(config, change);
            }
        }
        from_json(&json).map_err(|e| e.to_string())
    }
}

/// A copy without asking the type for `Clone`.
trait CloneByBytes: Sized {
    fn clone_by_bytes(&self) -> Self;
}

impl<T: Message + Default> CloneByBytes for T {
    fn clone_by_bytes(&self) -> Self {
        T::decode(self.encode_to_vec().as_slice()).unwrap_or_default()
    }
}

/// As protobuf merges: messages field by field, lists by appending, all else by replacing. A packed
/// message is replaced as a whole.
fn merge(into: &mut Value, change: Value) {
    let is_packed = change.get("@type").is_some();
    match (into, change) {
        (into @ Value::Object(_), change @ Value::Object(_)) if !is_packed => merge_fields(into, change),
        (Value::Array(into), Value::Array(mut change)) => into.append(&mut change),
        (into, change) => *into = change,
    }
}

fn merge_fields(into: &mut Value, change: Value) {
    let Value::Object(fields) = change else { return };
    for (key, value) in fields {
        match into.get_mut(&key) {
            Some(current) => merge(current, value),
            None => into[key] = value,
        }
    }
}

/// RFC 6902, where removing what is not there does nothing, adding makes the parents that are
/// missing, and a negative index counts from the end.
fn apply_patches(json: &mut Value, patches: &[JsonPatch]) -> Result<(), String> {
    for patch in patches {
        let path = from_end(json, &patch.path);
        match patch.op {
            PatchOp::Remove if json.pointer(&path).is_none() => continue,
            PatchOp::Add => make_parents(json, &path),
            _ => {}
        }
        let mut operation = json!({"op": patch.op.as_str(), "path": path});
        if let Some(value) = &patch.value {
            operation["value"] = value.clone();
        }
        if let Some(from) = &patch.from {
            operation["from"] = Value::from(from_end(json, from));
        }
        let operation: PatchOperation = serde_json::from_value(operation).map_err(|e| e.to_string())?;
        json_patch::patch(json, &[operation]).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// The path with negative indices resolved.
fn from_end(json: &Value, path: &str) -> String {
    let mut resolved = String::new();
    for part in path.split('/').skip(1) {
        let list = json.pointer(&resolved).and_then(Value::as_array);
        let index = part.strip_prefix('-').and_then(|back| back.parse::<usize>().ok());
        let part = match (list, index) {
            (Some(list), Some(back)) if back > 0 && back <= list.len() => (list.len() - back).to_string(),
            _ => part.to_owned(),
        };
        resolved.push('/');
        resolved.push_str(&part);
    }
    resolved
}

fn make_parents(json: &mut Value, path: &str) {
    let parts: Vec<_> = path.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    let Some((last, parents)) = parts.split_last() else { return };
    let mut at = json;
    for (i, part) in parents.iter().enumerate() {
        let next = parents.get(i + 1).unwrap_or(last);
        let is_list = next == "-" || next.parse::<usize>().is_ok();
        let made = || if is_list { json!([]) } else { json!({}) };
        at = match at {
            Value::Object(fields) => fields.entry(part.clone()).or_insert_with(made),
            Value::Array(items) => match part.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                Some(item) => item,
                None => return,
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
        };
    }
}
