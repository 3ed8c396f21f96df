//! Workloads of a Universal zone: one for every workload that a Dataplane names.

use std::sync::Arc;

use model::kinds::dataplane::Dataplane;
use model::kinds::workload::{Workload, WorkloadProxies, WorkloadStatus};
use model::names::dns_1035_label;
use model::registry::{DATAPLANE, MESH, WORKLOAD};
use model::{Key, Labels, Resource, Spec};

use model::kri::display_name;
use model::labels::{ENV, MANAGED_BY, MESH as MESH_LABEL, WORKLOAD as WORKLOAD_LABEL, ZONE};

use super::collection::{is_local, is_online};
use super::pass::Pass;
use super::settings::DutySettings;

const GENERATOR: &str = "workload-generator";

/// Makes the Workloads that dataplanes name and removes those that none names.
pub fn keep(pass: &mut Pass, settings: &DutySettings) {
    for (mesh, name) in pass.focus().workloads.clone() {
        let is_named = dns_1035_label(&name).is_empty() && !named(pass, &mesh, &name).is_empty();
        let key = Key { kind: WORKLOAD, mesh, name: name.as_str().into() };
        match pass.state().get(&key).map(|existing| is_local(existing)) {
            Some(true) if !is_named => pass.delete(&key),
            None if is_named => create(pass, key, settings),
            Some(_) | None => {}
        }
    }
}

fn create(pass: &mut Pass, key: Key, settings: &DutySettings) {
    let labels: Labels =
        [(MESH_LABEL, &*key.mesh), (MANAGED_BY, GENERATOR), (ENV, "universal"), (ZONE, settings.zone.as_str())]
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .into();
    match Spec::of(Workload {}) {
        Ok(spec) => {
            let owner = Key::global(MESH, &key.mesh);
            pass.put(key, labels, spec, Some(owner));
        }
        Err(error) => pass.fault(format!("{key}: {error}")),
    }
}

/// The dataplanes that name a workload.
fn named(pass: &Pass, mesh: &Arc<str>, workload: &str) -> Vec<Arc<Resource>> {
    let names = pass.index().dataplanes(mesh, &[(WORKLOAD_LABEL.to_owned(), workload.to_owned())].into());
    let key = |name: &Arc<str>| Key { kind: DATAPLANE, mesh: Arc::clone(mesh), name: Arc::clone(name) };
    names.iter().filter_map(|name| pass.state().get(&key(name)).cloned()).collect()
}

/// Counts the dataplanes of local Workloads.
pub fn keep_status(pass: &mut Pass) {
    for key in pass.focus().counts.clone() {
        let Some(workload) = pass.state().get(&key).filter(|w| is_local(w)).cloned() else { continue };
        let mut counts = WorkloadProxies::default();
        for dataplane in &named(pass, &key.mesh, display_name(&workload)) {
            let ready = dataplane.spec::<Dataplane>().is_some_and(|d| d.inbounds().iter().any(|i| i.is_ready()));
            counts.total += 1;
            counts.connected += u32::from(is_online(pass.state(), dataplane));
            counts.healthy += u32::from(ready);
        }
        pass.put_status(&workload.key, WorkloadStatus { dataplane_proxies: counts });
    }
}
