//! Kuma's YAML documents as resources, straight: no defaulting of labels, no validation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Form, Key, Kind, Labels, Meta, Resource, Timestamp, registry};
use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

/// The time that fixtures without one have in Kuma (Go's zero time).
pub(crate) fn no_time() -> Timestamp {
    "0001-01-01T00:00:00Z".parse().expect("a time")
}

/// The text of a file of the cases.
pub(crate) fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// One YAML document.
pub(crate) fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The resources of a file of YAML documents.
pub(crate) fn resources(path: &Path) -> Vec<Arc<Resource>> {
    let text = text(path);
    // Some of Kuma's files repeat a key; Go's parser takes the last.
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(&text, options).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    documents.into_iter().filter(Value::is_object).map(|document| Arc::new(resource(document))).collect()
}

/// Files of a folder that end in `suffix`, with the rest of their name.
pub(crate) fn stems(dir: &Path, suffix: &str) -> Vec<(String, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.strip_suffix(suffix)?.to_owned(), entry.path()))
        })
        .collect();
    found.sort();
    found
}

/// A resource from its document in universal form.
fn resource(document: Value) -> Resource {
    let Value::Object(mut fields) = document else { panic!("a resource is an object") };
    let mut take = |field: &str| fields.remove(field);
    let text = |value: Option<Value>| value.and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let kind = registry::by_name(&text(take("type"))).expect("a known type");
    let (mesh, name) = (text(take("mesh")), text(take("name")));
    let labels: Labels = take("labels").map(|v| serde_json::from_value(v).expect("labels")).unwrap_or_default();
    let time = |value: Option<Value>| text(value).parse().unwrap_or_else(|_| no_time());
    let (creation_time, modification_time) = (time(take("creationTime")), time(take("modificationTime")));
    let status = take("status");
    let raw = match kind.form {
        Form::Spec => take("spec").unwrap_or_else(|| Value::Object(serde_json::Map::new())),
        Form::Proto => Value::Object(fields),
    };
    let mut resource = resource_of(kind, &mesh, &name, raw);
    resource.meta = Meta { labels, creation_time, modification_time, ..resource.meta };
    resource.status = status.map(|raw| (kind.codec.decode_status)(raw).expect("a status"));
    resource
}

/// A resource without labels.
pub(crate) fn resource_of(kind: Kind, mesh: &str, name: &str, mut spec: Value) -> Resource {
    (kind.codec.default)(&mut spec);
    let spec = (kind.codec.decode)(spec).expect("a spec");
    Resource { key: Key::new(kind, mesh, name), meta: Meta::new(no_time()), spec, status: None }
}

/// The metadata of a resource as the REST API shows it.
pub(crate) fn rest_meta(resource: &Resource) -> Value {
    let mut meta = serde_json::json!({
        "type": resource.key.kind.name,
        "name": &*resource.key.name,
        "creationTime": resource.meta.creation_time.to_string(),
        "modificationTime": resource.meta.modification_time.to_string(),
        "kri": model::Kri::of(resource).to_string(),
    });
    if !resource.key.mesh.is_empty() {
        meta["mesh"] = Value::from(&*resource.key.mesh);
    }
    if !resource.meta.labels.is_empty() {
        meta["labels"] = serde_json::to_value(&resource.meta.labels).expect("labels");
    }
    meta
}

/// `Ok` when both are equal; else both, as text.
pub(crate) fn compare(actual: &Value, expected: &Value) -> Result<(), String> {
    if actual == expected {
        return Ok(());
    }
    let pretty = |value| serde_json::to_string_pretty(value).unwrap_or_default();
    Err(format!("differs\nactual {}\nexpected {}", pretty(actual), pretty(expected)))
}
