//! The dataplanes of a mesh, and who of them is selected by, or reaches, what.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::kinds::dataplane::{Dataplane, ListenerType};
use model::kinds::target_ref::RefKind;
use model::kri::display_name;
use model::{Kind, Labels, Resource};
use policy::selection::{Selection, select};
use policy::target_ref::includes;
use policy::{Policy, Role, Subject};

use super::label_index::{LabelIndex, SelectorIndex};
use super::reach::Reach;
use super::touched::Touched;

/// Label of a resource with the name that its owner gave it.
const DISPLAY_NAME: &str = "kuma.io/display-name";
/// Label of a resource with its namespace on Kubernetes.
const NAMESPACE: &str = "k8s.kuma.io/namespace";

/// One dataplane, read once.
#[derive(Clone, Debug)]
pub struct DataplaneEntry {
    /// The stored resource.
    pub resource: Arc<Resource>,
    /// Its spec.
    pub spec: Arc<Dataplane>,
    /// What policies look at in it.
    pub subject: Arc<Subject>,
    /// Its labels, the display name included.
    pub labels: Labels,
    /// What it may call.
    pub reach: Reach,
}

impl DataplaneEntry {
    /// Reads a Dataplane.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn read(resource: &Arc<Resource>) -> Result<Self, String> {
        let spec = resource.spec.shared::<Dataplane>().ok_or("its spec is not that of a Dataplane")?;
        let subject = Arc::new(Subject::read(resource).map_err(|e| e.to_string())?);
        let labels = labels_of(resource);
        let reach = Reach::of(&spec, &labels);
        Ok(Self { resource: Arc::clone(resource), spec, subject, labels, reach })
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.resource.key.name
    }

    /// Whether both mean the same to all proxies: only times and versions differ.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.labels == other.labels && self.resource.spec == other.resource.spec
    }

    /// Whether it wants to reach some dataplanes by their own addresses.
    fn has_direct_access(&self) -> bool {
        let redirection = self.spec.networking.as_ref().and_then(|n| n.transparent_proxying.as_ref());
        redirection.is_some_and(|r| !r.direct_access_services.is_empty())
    }
}

/// The labels of a resource, its display name among them.
pub(super) fn labels_of(resource: &Resource) -> Labels {
    let mut labels = resource.meta.labels.clone();
    labels.insert(DISPLAY_NAME.to_owned(), display_name(resource).to_owned());
    labels
}

/// All dataplanes of a mesh with their indexes.
#[derive(Clone, Debug, Default)]
pub(super) struct Dataplanes {
    by_name: OrdMap<Arc<str>, Arc<DataplaneEntry>>,
    by_label: LabelIndex<Arc<str>>,
    /// Those that may call every destination.
    unrestricted: OrdSet<Arc<str>>,
    /// The others by what they name.
    by_reach: SelectorIndex<Arc<str>>,
    /// Those with direct access to others.
    direct_access: OrdSet<Arc<str>>,
    /// Zone ingresses and egresses.
    zone_proxies: OrdSet<Arc<str>>,
}

impl Dataplanes {
    pub(super) fn get(&self, name: &str) -> Option<&Arc<DataplaneEntry>> {
        self.by_name.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<DataplaneEntry>> {
        self.by_name.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn zone_proxies(&self) -> impl Iterator<Item = &Arc<DataplaneEntry>> {
        self.zone_proxies.iter().filter_map(|name| self.by_name.get(name))
    }

    /// Those that have all these labels, by name.
    pub(super) fn select(&self, wanted: &Labels) -> OrdSet<Arc<str>> {
        self.by_label.select(wanted)
    }

    pub(super) fn put(&mut self, entry: Arc<DataplaneEntry>) {
        self.remove(entry.name());
        let name = Arc::clone(entry.name());
        self.by_label.insert(&name, &entry.labels);
        if entry.reach.all {
            self.unrestricted.insert(Arc::clone(&name));
        }
        for reference in &entry.reach.refs {
            self.by_reach.insert(&name, &reference.labels);
        }
        if entry.has_direct_access() {
            self.direct_access.insert(Arc::clone(&name));
        }
        if entry.spec.is_zone_proxy() {
            self.zone_proxies.insert(Arc::clone(&name));
        }
        self.by_name.insert(name, entry);
    }

    pub(super) fn remove(&mut self, name: &Arc<str>) -> Option<Arc<DataplaneEntry>> {
        let entry = self.by_name.remove(name)?;
        self.by_label.remove(name, &entry.labels);
        self.unrestricted.remove(name);
        for reference in &entry.reach.refs {
            self.by_reach.remove(name, &reference.labels);
        }
        self.direct_access.remove(name);
        self.zone_proxies.remove(name);
        Some(entry)
    }

    /// Everyone who may call a destination of this kind with these labels.
    pub(super) fn touch_callers(&self, kind: Kind, labels: &Labels, touched: &mut Touched) {
        if self.unrestricted.len() == self.len() && self.len() > 0 {
            *touched = Touched::All;
            return;
        }
        self.unrestricted.iter().for_each(|name| touched.add(name));
        for name in self.by_reach.candidates(labels) {
            let reaches = |entry: &Arc<DataplaneEntry>| {
                entry.reach.refs.iter().any(|r| r.kind == kind && includes(labels, &r.labels))
            };
            if self.by_name.get(name).is_some_and(reaches) {
                touched.add(name);
            }
        }
    }

    /// Everyone whom the top of a policy selects.
    pub(super) fn touch_selected(&self, policy: &Policy, touched: &mut Touched) {
        let target = &policy.frame.target_ref;
        let mut wanted = match target.kind {
            RefKind::Mesh => Labels::new(),
            RefKind::Dataplane => target.labels.clone().unwrap_or_default(),
            _ => return,
        };
        if let (Role::Consumer | Role::WorkloadOwner, Some(namespace)) = (policy.role, policy.resource.label(NAMESPACE))
        {
            wanted.insert(NAMESPACE.to_owned(), namespace.to_owned());
        }
        if wanted.is_empty() && target.section().is_none() {
            *touched = Touched::All;
            return;
        }
        for name in self.select(&wanted).iter() {
            let selected = |entry: &Arc<DataplaneEntry>| select(policy, &entry.subject) != Selection::None;
            if self.by_name.get(name).is_some_and(selected) {
                touched.add(name);
            }
        }
    }

    /// Those with direct access to others.
    pub(super) fn touch_direct_access(&self, touched: &mut Touched) {
        self.direct_access.iter().for_each(|name| touched.add(name));
    }

    /// Zone proxies with listeners of this type.
    pub(super) fn touch_zone_proxies(&self, kind: ListenerType, touched: &mut Touched) {
        self.zone_proxies().filter(|entry| entry.spec.has_listener(kind)).for_each(|entry| touched.add(entry.name()));
    }
}
