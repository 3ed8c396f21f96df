//! From the body of a write to a checked, typed document.

use model::{DecodeError, Document, Form, Kind, Labels, Scope, Spec, Violation, Violations};
use serde_json::{Map, Value};

use crate::errors::Problem;

/// Title of everything that is wrong with the body itself.
pub(crate) const TITLE: &str = "Could not process a resource";

/// Fields beside the spec. Those that the control plane computes are accepted and ignored.
const METADATA: [&str; 8] = ["type", "mesh", "name", "labels", "creationTime", "modificationTime", "kri", "snis"];

/// A document whose spec is valid; its metadata is still to be checked.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) type_name: String,
    pub(crate) mesh: String,
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) spec: Spec,
}

/// Decodes and validates a body that claims to be of this kind.
pub(crate) fn admit(kind: Kind, body: &[u8]) -> Result<Admitted, Problem> {
    let malformed = |why: String| Problem::malformed(format!("invalid {kind} object: {why:?}"));
    let mut document: Map<String, Value> = serde_json::from_slice(body).map_err(|e| malformed(e.to_string()))?;
    if kind.form == Form::Spec {
        refuse(check_envelope(kind, &document))?;
    }
    let labels = match document.remove("labels") {
        None | Some(Value::Null) => Labels::new(),
        Some(labels) => serde_json::from_value(labels).map_err(|e| malformed(format!("labels: {e}")))?,
    };
    let mut text = |field: &str| match document.remove(field) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(malformed(format!("{field}: expected a string, got {other}"))),
    };
    let (type_name, mut mesh, name) = (text("type")?, text("mesh")?, text("name")?);
    if mesh.is_empty() && kind.form == Form::Spec && kind.scope == Scope::Mesh {
        "default".clone_into(&mut mesh);
    }
    for field in METADATA {
        document.remove(field);
    }
    let raw = match kind.form {
        Form::Proto => Value::Object(document),
        Form::Spec => document.remove("spec").unwrap_or_default(),
    };
    let spec = kind.codec.admit(raw).map_err(|error| match error {
        DecodeError::Malformed(why) => malformed(why),
        DecodeError::Invalid(faults) => Problem::invalid(TITLE, faults),
    })?;
    let checked = (kind.codec.validate)(&Document { mesh: &mesh, name: &name, labels: &labels, spec: &spec });
    refuse(checked)?;
    Ok(Admitted { type_name, mesh, name, labels, spec })
}

fn refuse(faults: Violations) -> Result<(), Problem> {
    faults.into_result().map_err(|faults| Problem::invalid(TITLE, faults))
}

/// The schema of what surrounds a plugin kind's spec. Its faults have no field, only words.
fn check_envelope(kind: Kind, document: &Map<String, Value>) -> Violations {
    let mut faults = Vec::new();
    match document.get("type") {
        None => faults.push("type in body is required".to_owned()),
        Some(Value::String(name)) if name == kind.name => {}
        Some(Value::String(_)) => faults.push(format!("type in body should be one of [{kind}]")),
        Some(other) => faults.push(wrong_type("type", "string", other)),
    }
    if !document.contains_key("name") {
        faults.push("name in body is required".to_owned());
    }
    if !document.contains_key("spec") {
        faults.push("spec in body is required".to_owned());
    }
    for field in ["name", "mesh"] {
        if let Some(other) = document.get(field).filter(|value| !value.is_string()) {
            faults.push(wrong_type(field, "string", other));
        }
    }
    for (field, expected) in [("labels", "object"), ("spec", "object")] {
        if let Some(other) = document.get(field).filter(|value| !value.is_object()) {
            faults.push(wrong_type(field, expected, other));
        }
    }
    faults.sort();
    Violations(faults.into_iter().map(|message| Violation { field: String::new(), message }).collect())
}

fn wrong_type(field: &str, expected: &str, got: &Value) -> String {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("{field} in body must be of type {expected}: \"{got}\"")
}
