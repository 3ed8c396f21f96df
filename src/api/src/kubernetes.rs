//! Resources in the form of Kubernetes objects (`?format=k8s`), inferred: the store is not
//! Kubernetes', so uid and resource version are not there.

use model::{Form, Resource, Scope, registry};
use serde_json::{Map, Value, json};

/// Kinds whose objects live beside all namespaces.
const CLUSTER_SCOPED: [model::Kind; 5] =
    [registry::MESH, registry::MESH_INSIGHT, registry::SERVICE_INSIGHT, registry::ZONE, registry::ZONE_INSIGHT];

/// The object of a resource; `namespace` counts for kinds that live in one.
pub(crate) fn render(resource: &Resource, namespace: &str) -> Value {
    let kind = resource.key.kind;
    if kind == registry::SECRET || kind == registry::GLOBAL_SECRET {
        return secret(resource, namespace);
    }
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), json!("kuma.io/v1alpha1"));
    object.insert("kind".to_owned(), json!(kind.name));
    object.insert("metadata".to_owned(), metadata(resource, namespace));
    if kind.form == Form::Proto && kind.scope == Scope::Mesh {
        object.insert("mesh".to_owned(), json!(*resource.key.mesh));
    }
    let spec_field = if kind == registry::DATAPLANE_INSIGHT { "status" } else { "spec" };
    object.insert(spec_field.to_owned(), parsed(resource.spec.json()));
    if let Some(status) = &resource.status {
        object.insert("status".to_owned(), parsed(status.json()));
    }
    Value::Object(object)
}

fn metadata(resource: &Resource, namespace: &str) -> Value {
    let kind = resource.key.kind;
    let mut labels = resource.meta.labels.clone();
    if kind.form == Form::Spec && kind.scope == Scope::Mesh {
        labels.insert("kuma.io/mesh".to_owned(), resource.key.mesh.to_string());
    }
    let mut metadata = json!({
        "name": *resource.key.name,
        "creationTimestamp": resource.meta.creation_time.to_string(),
    });
    if !CLUSTER_SCOPED.contains(&kind) {
        metadata["namespace"] = json!(namespace);
    }
    if !labels.is_empty() {
        metadata["labels"] = json!(labels);
    }
    metadata
}

fn secret(resource: &Resource, namespace: &str) -> Value {
    let mut metadata = metadata(resource, namespace);
    let mut kind = "system.kuma.io/global-secret";
    if resource.key.kind == registry::SECRET {
        kind = "system.kuma.io/secret";
        metadata["labels"]["kuma.io/mesh"] = json!(*resource.key.mesh);
    }
    let data = parsed(resource.spec.json())["data"].take();
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": { "value": data }, "type": kind })
}

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}
