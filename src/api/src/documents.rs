//! Resources as the JSON documents that clients see.

use model::kri::Kri;
use model::{Form, Resource};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// One name under which a port of a destination is known in TLS.
#[derive(Serialize)]
struct Sni {
    port: u32,
    sni: String,
}

/// A resource as a document: metadata, then the spec.
pub(crate) fn render(resource: &Resource) -> Box<RawValue> {
    let kind = resource.key.kind;
    let mut fields = metadata(kind.name, resource);
    match kind.form {
        Form::Proto => inline(&mut fields, resource.spec.json()),
        Form::Spec => {
            fields.push(format!("\"spec\":{}", resource.spec.json()));
            if kind.has_status {
                fields.push(format!("\"status\":{}", status(resource)));
            }
        }
    }
    object(&fields)
}

/// An overview: metadata of `base`, its spec, and that of its insight when there is one.
pub(crate) fn render_overview(base: &Resource, insight: Option<&Resource>) -> Box<RawValue> {
    let kind = base.key.kind;
    let mut fields = metadata(kind.overview, base);
    fields.push(format!("{}:{}", text(&lower_first(kind.name)), base.spec.json()));
    if let Some(insight) = insight {
        fields.push(format!("{}:{}", text(&lower_first(kind.insight)), insight.spec.json()));
    }
    object(&fields)
}

/// The fields before the spec, each as `"name":value`.
fn metadata(type_name: &str, resource: &Resource) -> Vec<String> {
    let mut fields = vec![format!("\"type\":{}", text(type_name))];
    if !resource.key.mesh.is_empty() {
        fields.push(format!("\"mesh\":{}", text(&resource.key.mesh)));
    }
    fields.push(format!("\"name\":{}", text(&resource.key.name)));
    fields.push(format!("\"creationTime\":\"{}\"", resource.meta.creation_time));
    fields.push(format!("\"modificationTime\":\"{}\"", resource.meta.modification_time));
    if !resource.meta.labels.is_empty() {
        fields.push(format!("\"labels\":{}", value(&resource.meta.labels)));
    }
    if let Some(kri) = Kri::served(resource) {
        fields.push(format!("\"kri\":{}", text(&kri.to_string())));
    }
    let snis = snis(resource);
    if !snis.is_empty() {
        fields.push(format!("\"snis\":{}", value(&snis)));
    }
    fields
}

fn status(resource: &Resource) -> String {
    match &resource.status {
        Some(status) => status.json().to_owned(),
        None => {
            let empty = Value::Object(serde_json::Map::new());
            let empty = (resource.key.kind.codec.decode_status)(empty);
            empty.map_or_else(|_| "{}".to_owned(), |status| status.json().to_owned())
        }
    }
}

/// Adds the fields of a JSON object.
fn inline(fields: &mut Vec<String>, json: &str) {
    let inner = json.strip_prefix('{').and_then(|j| j.strip_suffix('}')).unwrap_or_default();
    if !inner.is_empty() {
        fields.push(inner.to_owned());
    }
}

fn object(fields: &[String]) -> Box<RawValue> {
    let json = format!("{{{}}}", fields.join(","));
    RawValue::from_string(json).unwrap_or_else(|error| {
        tracing::error!(%error, "a stored spec is no JSON object");
        RawValue::NULL.to_owned()
    })
}

fn text(text: &str) -> String {
    value(&text)
}

fn value(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// The names in TLS of a destination's ports; ports without a valid one are left out.
fn snis(resource: &Resource) -> Vec<Sni> {
    let names = model::sni::of_resource(resource).into_iter();
    names.filter_map(|name| Some(Sni { port: name.port, sni: name.sni.ok()? })).collect()
}
