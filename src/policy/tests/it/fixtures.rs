//! Resources made from a few words.

use std::sync::Arc;

use model::{Key, Kind, Meta, Resource, Timestamp, registry};
use policy::{Destinations, PolicySet, RuleBook, Rules, Shadow, Subject};
use serde_json::{Value, json};

/// A resource of mesh `m`. Labels are written as `key=value`.
pub(crate) fn resource(kind: Kind, name: &str, labels: &[&str], spec: Value) -> Arc<Resource> {
    let mut meta = Meta::new(Timestamp::UNIX_EPOCH);
    for label in labels {
        let (key, value) = label.split_once('=').expect("key=value");
        let key = match key {
            "display" => "kuma.io/display-name",
            "origin" => "kuma.io/origin",
            "zone" => "kuma.io/zone",
            "role" => "kuma.io/policy-role",
            "ns" => "k8s.kuma.io/namespace",
            "effect" => "kuma.io/effect",
            other => other,
        };
        meta.labels.insert(key.to_owned(), value.to_owned());
    }
    let spec = (model::codec::OPAQUE.decode)(spec).expect("any JSON decodes");
    Arc::new(Resource { key: Key::new(kind, "m", name), meta, spec, status: None })
}

/// A MeshTimeout.
pub(crate) fn timeout(name: &str, labels: &[&str], spec: Value) -> Arc<Resource> {
    resource(registry::MESH_TIMEOUT, name, labels, spec)
}

/// A MeshService with a port 80 named `http` and an unnamed port 81.
pub(crate) fn service(name: &str, labels: &[&str]) -> Arc<Resource> {
    let ports = json!({"ports": [{"port": 80, "name": "http"}, {"port": 81}]});
    resource(registry::MESH_SERVICE, name, labels, ports)
}

/// The mesh `m`.
pub(crate) fn mesh() -> Arc<Resource> {
    let mut mesh = (*resource(registry::MESH, "m", &[], json!({}))).clone();
    mesh.key = Key::global(registry::MESH, "m");
    Arc::new(mesh)
}

/// A dataplane with an unnamed inbound on port 80 and one named `admin` on port 81.
pub(crate) fn web(labels: &[&str]) -> Subject {
    dataplane(labels, json!({"inbound": [{"port": 80}, {"port": 81, "name": "admin"}]}))
}

/// A dataplane with this `networking`; its address is 10.0.0.1.
pub(crate) fn dataplane(labels: &[&str], mut networking: Value) -> Subject {
    networking["address"] = json!("10.0.0.1");
    Subject::read(&resource(registry::DATAPLANE, "web", labels, json!({ "networking": networking })))
        .expect("a dataplane")
}

/// The rules of a dataplane under these policies, among these destinations and the mesh.
pub(crate) fn rules(policies: &[Arc<Resource>], destinations: &[Arc<Resource>], subject: &Subject) -> Rules {
    book(policies, destinations).rules(subject, Shadow::Excluded)
}

/// The book of these policies, which are all of the first one's kind.
pub(crate) fn book(policies: &[Arc<Resource>], destinations: &[Arc<Resource>]) -> RuleBook {
    let set = PolicySet::new(policies[0].key.kind, policies);
    RuleBook::new(Arc::new(set), Arc::new(Destinations::new(destinations.iter().chain([&mesh()]))))
}

/// The names of the policies that select the dataplane, low to high.
pub(crate) fn selecting(policies: &[Arc<Resource>], subject: &Subject) -> Vec<String> {
    rules(policies, &[], subject).policies.iter().map(|policy| policy.display_name().to_owned()).collect()
}
