//! Where duties look things up instead of looking at all there is, and what a change makes them look
//! at again.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use model::kinds::dataplane_insight::DataplaneInsight;
use model::kinds::mesh_multi_zone_service::MeshMultiZoneService;
use model::kinds::mesh_service::MeshService;
use model::kri::display_name;
use model::labels::{DELETION_GRACE_PERIOD_STARTED_AT, WORKLOAD as WORKLOAD_LABEL};
use model::registry::{
    DATAPLANE, DATAPLANE_INSIGHT, MESH_IDENTITY, MESH_MULTI_ZONE_SERVICE, MESH_SERVICE, MESH_TRUST, SECRET, WORKLOAD,
};
use model::{Change, Key, Labels, Resource};
use store::State;
use xds::view::label_index::{LabelIndex, SelectorIndex};

use super::claims::{Claims, Generators};
use super::collection::workload;
use super::focus::Focus;
use super::insights::left_at;
use super::settings::DutySettings;
use super::vips::Given;

/// See the module. Cloning shares everything.
#[derive(Clone, Debug)]
pub struct Index {
    generators: Arc<Generators>,
    meshes: OrdMap<Arc<str>, InMesh>,
    given: Given,
    /// Generated services without dataplanes.
    retiring: OrdSet<Key>,
}

/// What duties look up in one mesh.
#[derive(Clone, Debug, Default)]
struct InMesh {
    /// Names of dataplanes by label.
    dataplanes: LabelIndex<Arc<str>>,
    services: LabelIndex<Key>,
    /// Services by what they select.
    selecting: SelectorIndex<Key>,
    /// Services by the one dataplane that they name.
    naming: OrdMap<String, OrdSet<Key>>,
    /// MeshMultiZoneServices by the services that they select.
    multi_zone: SelectorIndex<Key>,
    /// Workloads by display name.
    workloads: OrdMap<String, OrdSet<Key>>,
    claims: Claims,
}

impl Index {
    /// The index of a state. All of it is put into `focus`.
    pub fn of(state: &State, settings: &DutySettings, focus: &mut Focus) -> Self {
        let generators = Arc::new(Generators::of(state, settings));
        let mut index = Self { generators, meshes: OrdMap::new(), given: Given::default(), retiring: OrdSet::new() };
        for resource in state.iter() {
            let created = Change { key: resource.key.clone(), before: None, after: Some(Arc::clone(resource)) };
            index.follow(&created, state, focus);
        }
        index
    }

    /// Follows a change to `state`, and adds to `focus` what it can have made wrong.
    pub fn follow(&mut self, change: &Change, state: &State, focus: &mut Focus) {
        let (key, kind) = (&change.key, change.key.kind);
        if kind == DATAPLANE {
            self.dataplane(change, focus);
        } else if kind == DATAPLANE_INSIGHT {
            self.insight(change, state, focus);
        } else if kind.is_destination {
            self.destination(change, focus);
        } else if kind == WORKLOAD {
            self.workload(change, focus);
        } else if kind == MESH_IDENTITY || kind == MESH_TRUST {
            focus.identities.insert(Arc::clone(&key.mesh));
            let services = self.meshes.get(&key.mesh).map(|own| own.services.select(&Labels::new()));
            focus.services.extend(services.into_iter().flatten());
        } else if kind == SECRET {
            focus.identities.insert(Arc::clone(&key.mesh));
        }
    }

    /// The dataplanes with all these labels, by name.
    pub fn dataplanes(&self, mesh: &str, labels: &Labels) -> OrdSet<Arc<str>> {
        self.meshes.get(mesh).map(|own| own.dataplanes.select(labels)).unwrap_or_default()
    }

    /// The services with all these labels, by name.
    pub fn services(&self, mesh: &str, labels: &Labels) -> OrdSet<Key> {
        self.meshes.get(mesh).map(|own| own.services.select(labels)).unwrap_or_default()
    }

    /// The addresses that destinations have, and those without.
    pub fn given(&self) -> &Given {
        &self.given
    }

    /// Generated services without dataplanes.
    pub fn retiring(&self) -> impl Iterator<Item = &Key> {
        self.retiring.iter()
    }

    /// The generators of hostnames.
    pub fn generators(&self) -> &Arc<Generators> {
        &self.generators
    }

    /// Which hostnames destinations of a mesh claim.
    pub fn claims(&self, mesh: &str) -> Option<&Claims> {
        self.meshes.get(mesh).map(|own| &own.claims)
    }

    fn mesh(&mut self, mesh: &Arc<str>) -> &mut InMesh {
        self.meshes.entry(Arc::clone(mesh)).or_default()
    }

    fn dataplane(&mut self, change: &Change, focus: &mut Focus) {
        let key = &change.key;
        let own = self.mesh(&key.mesh);
        if let Some(before) = &change.before {
            own.dataplanes.remove(&key.name, &before.meta.labels);
        }
        if let Some(after) = &change.after {
            own.dataplanes.insert(&key.name, &after.meta.labels);
        }
        for dataplane in [&change.before, &change.after].into_iter().flatten() {
            own.selectors_of(dataplane, focus);
            if let Some(name) = workload(dataplane) {
                focus.workloads.insert((Arc::clone(&key.mesh), name.to_owned()));
            }
        }
    }

    /// Proxies that come and go count; how they do does not.
    fn insight(&mut self, change: &Change, state: &State, focus: &mut Focus) {
        let online = |resource: &Option<Arc<Resource>>| {
            resource.as_ref().and_then(|r| r.spec::<DataplaneInsight>()).is_some_and(DataplaneInsight::is_online)
        };
        let (was, is) = (online(&change.before), online(&change.after));
        if is && !was {
            focus.came.insert(change.key.clone());
        } else if let Some(left) = change.after.as_ref().and_then(|after| left_at(after)) {
            focus.left = Some(focus.left.map_or(left, |first| first.min(left)));
        }
        let key = Key { kind: DATAPLANE, ..change.key.clone() };
        if let (true, Some(dataplane)) = (was != is, state.get(&key)) {
            self.mesh(&key.mesh).selectors_of(dataplane, focus);
        }
    }

    fn destination(&mut self, change: &Change, focus: &mut Focus) {
        let key = &change.key;
        self.given.follow(change);
        focus.addresses |= !self.given.without(key.kind).is_empty();
        let generators = Arc::clone(&self.generators);
        self.mesh(&key.mesh).claims.follow(change, &generators, focus);
        if key.kind == MESH_SERVICE {
            self.service(change, focus);
        } else if key.kind == MESH_MULTI_ZONE_SERVICE {
            self.multi_zone(change, focus);
        }
    }

    fn service(&mut self, change: &Change, focus: &mut Focus) {
        let key = &change.key;
        focus.services.insert(key.clone());
        focus.workloads.insert((Arc::clone(&key.mesh), key.name.to_string()));
        let retires = |r: &Arc<Resource>| r.label(DELETION_GRACE_PERIOD_STARTED_AT).is_some();
        if change.after.as_ref().is_some_and(retires) {
            self.retiring.insert(key.clone());
        } else {
            self.retiring.remove(key);
        }
        let own = self.mesh(&key.mesh);
        if let Some(before) = &change.before {
            own.services.remove(key, &before.meta.labels);
            own.unselect(key, before);
        }
        if let Some(after) = &change.after {
            own.services.insert(key, &after.meta.labels);
            own.select(key, after);
        }
        let labels = |r: &Option<Arc<Resource>>| r.as_ref().map(|r| r.meta.labels.clone());
        if labels(&change.before) != labels(&change.after) {
            for service in [&change.before, &change.after].into_iter().flatten() {
                focus.multi_zone.extend(own.multi_zone.candidates(&service.meta.labels).cloned());
            }
        }
    }

    fn multi_zone(&mut self, change: &Change, focus: &mut Focus) {
        let key = &change.key;
        let own = self.mesh(&key.mesh);
        let wanted = |r: &Arc<Resource>| {
            let spec = r.spec::<MeshMultiZoneService>();
            spec.and_then(|spec| spec.selector.mesh_service.match_labels.clone()).unwrap_or_default()
        };
        if let Some(before) = &change.before {
            own.multi_zone.remove(key, &wanted(before));
        }
        if let Some(after) = &change.after {
            own.multi_zone.insert(key, &wanted(after));
            focus.multi_zone.insert(key.clone());
        }
    }

    fn workload(&mut self, change: &Change, focus: &mut Focus) {
        let key = &change.key;
        let own = self.mesh(&key.mesh);
        if let Some(before) = &change.before {
            forget(&mut own.workloads, display_name(before), key);
        }
        if let Some(after) = &change.after {
            own.workloads.entry(display_name(after).to_owned()).or_default().insert(key.clone());
            focus.counts.insert(key.clone());
        }
        focus.workloads.insert((Arc::clone(&key.mesh), key.name.to_string()));
    }
}

impl InMesh {
    /// Who may select, or count, a dataplane.
    fn selectors_of(&self, dataplane: &Resource, focus: &mut Focus) {
        let labels = &dataplane.meta.labels;
        focus.services.extend(self.selecting.candidates(labels).cloned());
        focus.services.extend(self.naming.get(&*dataplane.key.name).into_iter().flatten().cloned());
        if let Some(name) = dataplane.label(WORKLOAD_LABEL) {
            focus.counts.extend(self.workloads.get(name).into_iter().flatten().cloned());
        }
    }

    fn select(&mut self, key: &Key, service: &Resource) {
        let Some(spec) = service.spec::<MeshService>() else { return };
        if let Some(reference) = &spec.selector.dataplane_ref {
            self.naming.entry(reference.name.clone()).or_default().insert(key.clone());
        } else if let Some(labels) = &spec.selector.dataplane_labels {
            self.selecting.insert(key, labels.match_labels.as_ref().unwrap_or(&Labels::new()));
        }
    }

    fn unselect(&mut self, key: &Key, service: &Resource) {
        let Some(spec) = service.spec::<MeshService>() else { return };
        if let Some(reference) = &spec.selector.dataplane_ref {
            forget(&mut self.naming, &reference.name, key);
        } else if let Some(labels) = &spec.selector.dataplane_labels {
            self.selecting.remove(key, labels.match_labels.as_ref().unwrap_or(&Labels::new()));
        }
    }
}

fn forget(index: &mut OrdMap<String, OrdSet<Key>>, at: &str, key: &Key) {
    let Some(keys) = index.get_mut(at) else { return };
    keys.remove(key);
    if keys.is_empty() {
        index.remove(at);
    }
}
