//! Rendering resources: fields in a fixed order, specs as the text that is stored.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::descriptor::{Form, Scope};
use crate::kri::Kri;
use crate::labels;
use crate::registry;
use crate::resource::{Resource, Spec};
use crate::sni;

/// Writes `"name":` and a JSON text.
struct Writer(String);

impl Writer {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn field(&mut self, name: &str, json: &str) {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        let _ = write!(self.0, "\"{name}\":{json}");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.field(name, &Value::from(value).to_string());
    }

    /// Writes the fields of an object text beside those that are there.
    fn inline(&mut self, object: &str) {
        let inner = object.trim().trim_start_matches('{').strip_suffix('}').unwrap_or_default();
        if !inner.is_empty() {
            self.0.push(',');
            self.0.push_str(inner);
        }
    }

    fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn write_metadata(out: &mut Writer, type_name: &str, resource: &Resource) {
    let meta = &resource.meta;
    out.text("type", type_name);
    if !resource.key.mesh.is_empty() {
        out.text("mesh", &resource.key.mesh);
    }
    out.text("name", &resource.key.name);
    out.text("creationTime", &meta.creation_time.to_string());
    out.text("modificationTime", &meta.modification_time.to_string());
    if !meta.labels.is_empty() {
        out.field("labels", &json!(meta.labels).to_string());
    }
    if let Some(kri) = Kri::served(resource) {
        out.text("kri", &kri.to_string());
    }
    let names = sni::of_resource(resource);
    let names: Vec<_> = names.iter().filter_map(|name| Some((name.port, name.sni.as_ref().ok()?))).collect();
    if !names.is_empty() {
        let items: Vec<_> = names.iter().map(|(port, sni)| format!("{{\"port\":{port},\"sni\":\"{sni}\"}}")).collect();
        out.field("snis", &format!("[{}]", items.join(",")));
    }
}

/// The status text of a resource; that of an untouched one when nothing was observed yet. `None`
/// for kinds without a status.
fn status_json(resource: &Resource) -> Option<String> {
    if !resource.key.kind.has_status {
        return None;
    }
    let status = resource.status.clone().or_else(|| (resource.key.kind.codec.decode_status)(json!({})).ok());
    Some(status.map_or_else(|| "{}".to_owned(), |status| status.json().to_owned()))
}

/// The REST document of a resource.
pub fn render(resource: &Resource) -> String {
    let mut out = Writer::new();
    write_metadata(&mut out, resource.key.kind.name, resource);
    match resource.key.kind.form {
        Form::Proto => out.inline(resource.spec.json()),
        Form::Spec => {
            out.field("spec", resource.spec.json());
            if let Some(status) = status_json(resource) {
                out.field("status", &status);
            }
        }
    }
    out.finish()
}

/// The overview of a Dataplane or a Zone: its spec and, when there is one, the spec of its insight.
pub fn render_overview(resource: &Resource, insight: Option<&Spec>) -> String {
    let kind = resource.key.kind;
    let field = |name: &str| {
        let mut chars = name.chars();
        chars.next().map(|first| format!("{}{}", first.to_ascii_lowercase(), chars.as_str())).unwrap_or_default()
    };
    let mut out = Writer::new();
    write_metadata(&mut out, kind.overview, resource);
    out.field(&field(kind.name), resource.spec.json());
    if let Some(insight) = insight {
        out.field(&field(kind.insight), insight.json());
    }
    out.finish()
}

/// Kinds that have no namespace on Kubernetes.
const CLUSTER_SCOPED: &[&str] = &["Mesh", "MeshInsight", "ServiceInsight", "Zone", "ZoneInsight"];

/// The Kubernetes object of a resource, in `namespace` when its kind has one.
pub fn render_kubernetes(resource: &Resource, namespace: &str) -> Value {
    let kind = resource.key.kind;
    let mesh = &*resource.key.mesh;
    let is_secret = kind == registry::SECRET || kind == registry::GLOBAL_SECRET;
    let mut labels = resource.meta.labels.clone();
    let mut annotations = Map::new();
    for key in [labels::DISPLAY_NAME, labels::SERVICE_ACCOUNT, labels::WORKLOAD] {
        if let Some(value) = labels.remove(key) {
            annotations.insert(key.to_owned(), value.into());
        }
    }
    if kind.scope == Scope::Mesh && (kind.form == Form::Spec || is_secret) {
        labels.entry(labels::MESH.to_owned()).or_insert_with(|| mesh.to_owned());
    }
    let mut metadata = json!({"name": &*resource.key.name, "creationTimestamp": seconds(resource)});
    if !CLUSTER_SCOPED.contains(&kind.name) {
        metadata["namespace"] = namespace.into();
    }
    if !labels.is_empty() {
        metadata["labels"] = json!(labels);
    }
    if !annotations.is_empty() {
        metadata["annotations"] = annotations.into();
    }
    let spec: Value = serde_json::from_str(resource.spec.json()).unwrap_or_default();
    if is_secret {
        let kind = if kind == registry::SECRET { "system.kuma.io/secret" } else { "system.kuma.io/global-secret" };
        let data = spec.get("data").cloned().unwrap_or_else(|| "".into());
        return json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "data": {"value": data}});
    }
    let mut object = json!({"apiVersion": "kuma.io/v1alpha1", "kind": kind.name, "metadata": metadata});
    if kind.form == Form::Proto && kind.scope == Scope::Mesh {
        object["mesh"] = mesh.into();
    }
    let place = if kind == registry::DATAPLANE_INSIGHT { "status" } else { "spec" };
    object[place] = spec;
    if let Some(status) = status_json(resource) {
        object["status"] = serde_json::from_str(&status).unwrap_or_default();
    }
    object
}

/// The creation time in whole seconds, as Kubernetes shows it.
fn seconds(resource: &Resource) -> String {
    resource.meta.creation_time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
