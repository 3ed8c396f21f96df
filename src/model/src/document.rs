//! Documents: resources as REST, kumactl and Kubernetes carry them.

use serde_json::{Map, Value};

use crate::codec::DecodeError;
use crate::descriptor::{Form, Kind, Scope};
use crate::go_json;
use crate::meta::Labels;
use crate::resource::Spec;
use crate::schema::{self, Faults, Schema};

mod render;

pub use render::{render, render_kubernetes, render_overview};

/// A resource that someone sent: decoded and checked against its schema, not yet against the
/// rules of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// What it says its type is; may be empty.
    pub type_name: String,
    /// What it says its mesh is; `default` when a plugin kind does not say it.
    pub mesh: String,
    /// What it says its name is; may be empty.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Its spec.
    pub spec: Spec,
}

/// Fields of documents that are no part of a protobuf-born spec.
const METADATA_FIELDS: &[&str] = &["type", "mesh", "name", "creationTime", "modificationTime", "labels", "kri", "snis"];

impl Submission {
    /// Reads a document as one of `kind`, whatever its `type` says: that is compared later.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`] when it has not the shape of a resource, and
    /// [`DecodeError::Invalid`] with all faults that the schema finds.
    pub fn read(kind: Kind, document: Value) -> Result<Self, DecodeError> {
        let Value::Object(fields) = document else {
            let found = go_type(&document);
            return Err(malformed(&format!(
                "json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
            )));
        };
        match kind.form {
            Form::Spec => read_spec_form(kind, fields),
            Form::Proto => read_proto_form(kind, fields),
        }
    }

    /// Reads the JSON text of a document as one of `kind`.
    ///
    /// # Errors
    /// As [`Submission::read`]; syntax errors in Go's words.
    pub fn read_json(kind: Kind, text: &str) -> Result<Self, DecodeError> {
        let document = serde_json::from_str(text)
            .map_err(|e| malformed(&go_json::syntax_error(text).unwrap_or_else(|| e.to_string())))?;
        Self::read(kind, document)
    }
}

fn malformed(message: &str) -> DecodeError {
    DecodeError::Malformed(message.to_owned())
}

fn metadata_schema(kind: Kind) -> Schema {
    let mut properties = vec![
        ("type", schema::choice(&[kind.name])),
        ("name", schema::string()),
        ("labels", schema::map(schema::string())),
        ("spec", schema::object([])),
    ];
    if kind.scope == Scope::Mesh {
        properties.push(("mesh", schema::string().default_to("default")));
    }
    schema::object(properties).required(&["type", "name", "spec"])
}

fn read_spec_form(kind: Kind, fields: Map<String, Value>) -> Result<Submission, DecodeError> {
    let metadata = metadata_schema(kind);
    let mut document = Value::Object(fields);
    metadata.fill(&mut document);
    let mut faults = Faults::default();
    metadata.check("", &document, &mut faults);
    let mut raw = document.get_mut("spec").map(Value::take).unwrap_or_default();
    if raw.is_object() {
        (kind.codec.default)(&mut raw);
        faults.add_violations((kind.codec.schema)(&raw));
    }
    let violations = faults.into_violations();
    if !violations.is_empty() {
        return Err(DecodeError::Invalid(violations));
    }
    let spec = (kind.codec.decode)(raw)?;
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let labels = document.get("labels").and_then(Value::as_object).into_iter().flatten();
    let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    Ok(Submission { type_name: text("type"), mesh: text("mesh"), name: text("name"), labels, spec })
}

fn read_proto_form(kind: Kind, mut fields: Map<String, Value>) -> Result<Submission, DecodeError> {
    let mut text = |name: &str| match fields.remove(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(bad_metadata(&other, name, "string")),
    };
    let (type_name, mesh, name) = (text("type")?, text("mesh")?, text("name")?);
    let mut labels = Labels::new();
    match fields.remove("labels") {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => {
            for (key, value) in given {
                match value {
                    Value::String(value) => labels.insert(key, value),
                    other => return Err(bad_metadata(&other, "labels", "string")),
                };
            }
        }
        Some(other) => return Err(bad_metadata(&other, "labels", "map[string]string")),
    }
    fields.retain(|name, _| !METADATA_FIELDS.contains(&name.as_str()));
    let spec = (kind.codec.decode)(Value::Object(fields))?;
    Ok(Submission { type_name, mesh, name, labels, spec })
}

/// The type of a value in the words of Go's decoder.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn bad_metadata(found: &Value, name: &str, expected: &str) -> DecodeError {
    let found = go_type(found);
    malformed(&format!("json: cannot unmarshal {found} into Go struct field ResourceMeta.{name} of type {expected}"))
}

#[cfg(test)]
mod tests;
