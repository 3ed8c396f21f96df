//! What policies and backends can refer to: services of every sort and HTTP routes, found by labels.

use std::sync::Arc;

use imbl::{OrdMap, Vector};
use model::{Key, Kind, Labels, Resource, registry};
use serde::Deserialize;

use crate::target_ref::includes;
use model::kri::{Kri, display_name};

/// A port of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its number.
    pub number: u32,
    /// Its name; empty when it has none.
    pub name: Arc<str>,
}

impl Port {
    /// What identifies it within its destination: its name, or its number when it has none.
    pub fn section(&self) -> Arc<str> {
        if self.name.is_empty() { self.number.to_string().into() } else { Arc::clone(&self.name) }
    }
}

/// A service of some sort, or an HTTP route.
#[derive(Debug, PartialEq)]
pub struct Destination {
    /// The stored resource.
    pub resource: Arc<Resource>,
    /// Its identifier, without section.
    pub kri: Kri,
    /// Its ports; an external service has one, a route none.
    pub ports: Vec<Port>,
    labels: Labels,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawDestination {
    ports: Option<Vec<RawPort>>,
    #[serde(rename = "match")]
    matched: Option<RawPort>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPort {
    port: u32,
    name: Option<String>,
}

impl Destination {
    /// Reads a resource; one whose spec cannot be read has no ports.
    fn read(resource: Arc<Resource>) -> Self {
        let raw: RawDestination = serde_json::from_str(resource.spec.json()).unwrap_or_default();
        let ports = raw.ports.unwrap_or_default().into_iter().chain(raw.matched);
        let ports = ports.map(|port| Port { number: port.port, name: port.name.unwrap_or_default().into() }).collect();
        let mut labels = resource.meta.labels.clone();
        labels.insert("kuma.io/display-name".to_owned(), display_name(&resource).to_owned());
        Self { kri: Kri::of(&resource), ports, labels, resource }
    }

    /// The port that a policy means by this section: its name, or its number when it has no name.
    pub fn port_of_policy(&self, section: &str) -> Option<&Port> {
        self.ports.iter().find(|port| *port.section() == *section)
    }

    /// The port that a backend means by this section. Unlike a policy it may give the number of a
    /// named port, and nothing at all when there is one port only. Any section of an external
    /// service means its one port.
    pub fn port_of_backend(&self, section: &str) -> Option<&Port> {
        match self.ports.as_slice() {
            [only] if section.is_empty() || self.resource.key.kind == registry::MESH_EXTERNAL_SERVICE => Some(only),
            _ if section.is_empty() => None,
            ports => ports.iter().find(|port| *port.name == *section || port.number.to_string() == section),
        }
    }
}

/// All destinations of a mesh. Cloning shares; a change costs a few nodes.
#[derive(Clone, Debug, Default)]
pub struct Destinations {
    mesh: Option<Arc<Resource>>,
    by_key: OrdMap<Key, Arc<Destination>>,
    by_kri: OrdMap<Kri, Arc<Destination>>,
    by_name: OrdMap<(Kind, Arc<str>), Vector<Arc<Destination>>>,
}

impl Destinations {
    /// Whether resources of this kind belong here.
    pub fn holds(kind: Kind) -> bool {
        kind.is_destination || kind == registry::MESH || kind == registry::MESH_HTTP_ROUTE
    }

    /// The destinations among these resources.
    pub fn new<'a>(resources: impl IntoIterator<Item = &'a Arc<Resource>>) -> Self {
        let mut destinations = Self::default();
        for resource in resources {
            destinations.put(resource);
        }
        destinations
    }

    /// Adds or replaces a resource. Kinds that do not belong here are ignored.
    pub fn put(&mut self, resource: &Arc<Resource>) {
        if resource.key.kind == registry::MESH {
            self.mesh = Some(Arc::clone(resource));
            return;
        }
        if !Self::holds(resource.key.kind) {
            return;
        }
        self.remove(&resource.key);
        let destination = Arc::new(Destination::read(Arc::clone(resource)));
        self.by_key.insert(resource.key.clone(), Arc::clone(&destination));
        self.by_kri.insert(destination.kri.clone(), Arc::clone(&destination));
        self.by_name.entry(Self::name_of(&destination)).or_default().push_back(destination);
    }

    /// Removes a resource.
    pub fn remove(&mut self, key: &Key) {
        if key.kind == registry::MESH {
            self.mesh = None;
            return;
        }
        let Some(gone) = self.by_key.remove(key) else { return };
        if self.by_kri.get(&gone.kri).is_some_and(|other| other.resource.key == *key) {
            self.by_kri.remove(&gone.kri);
        }
        let name = Self::name_of(&gone);
        let others: Vector<_> =
            self.by_name.remove(&name).unwrap_or_default().into_iter().filter(|d| d.resource.key != *key).collect();
        if !others.is_empty() {
            self.by_name.insert(name, others);
        }
    }

    fn name_of(destination: &Destination) -> (Kind, Arc<str>) {
        (destination.kri.kind, Arc::clone(&destination.kri.name))
    }

    /// The mesh itself, when it is known.
    pub fn mesh(&self) -> Option<&Arc<Resource>> {
        self.mesh.as_ref()
    }

    /// The destination with this identifier; the section does not count.
    pub fn get(&self, kri: &Kri) -> Option<&Arc<Destination>> {
        if kri.section.is_empty() { self.by_kri.get(kri) } else { self.by_kri.get(&kri.with_section("")) }
    }

    /// All of a kind, in the order of their keys.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Destination>> {
        let start = Key { kind, mesh: "".into(), name: "".into() };
        self.by_key.range(start..).map(|(_, destination)| destination).take_while(move |d| d.kri.kind == kind)
    }

    /// Those of a kind that have all these labels, in the order of their keys.
    pub fn select(&self, kind: Kind, labels: &Labels) -> Vec<Arc<Destination>> {
        let has = |destination: &&Arc<Destination>| includes(&destination.labels, labels);
        match labels.get("kuma.io/display-name") {
            Some(name) => {
                let named = self.by_name.get(&(kind, name.as_str().into()));
                let mut found: Vec<_> = named.into_iter().flatten().filter(has).cloned().collect();
                found.sort_by(|a, b| a.resource.key.cmp(&b.resource.key));
                found
            }
            None => self.of_kind(kind).filter(has).cloned().collect(),
        }
    }

    /// The identifier with the section that policies use: the name of a port where it was given by
    /// its number, and the one port of a service where none was given.
    #[must_use]
    pub fn with_policy_section(&self, kri: &Kri) -> Kri {
        let port = self.get(kri).and_then(|destination| destination.port_of_backend(&kri.section).map(Port::section));
        port.map_or_else(|| kri.clone(), |section| kri.with_section(&section))
    }
}
