//! Workloads of a Universal zone: one for every workload that a Dataplane names.

use std::collections::BTreeSet;

use model::kinds::dataplane::Dataplane;
use model::kinds::workload::{Workload, WorkloadProxies, WorkloadStatus};
use model::registry::{DATAPLANE, MESH, WORKLOAD};
use model::{Key, Labels, Spec};

use model::kri::display_name;
use model::labels::{ENV, MANAGED_BY, MESH as MESH_LABEL, WORKLOAD as WORKLOAD_LABEL, ZONE};

use super::collection::{is_local, is_online, workload};
use super::pass::Pass;
use super::settings::DutySettings;

const GENERATOR: &str = "workload-generator";

/// Makes the Workloads that dataplanes of a mesh name and removes those that none names.
pub fn keep(pass: &mut Pass, mesh: &str, settings: &DutySettings) {
    let named: BTreeSet<String> =
        pass.in_mesh(DATAPLANE, mesh).iter().filter_map(|d| workload(d)).map(str::to_owned).collect();
    for existing in pass.in_mesh(WORKLOAD, mesh) {
        if is_local(&existing) && !named.contains(&*existing.key.name) {
            pass.delete(&existing.key);
        }
    }
    for name in named {
        let key = Key::new(WORKLOAD, mesh, &name);
        if pass.state().get(&key).is_some() {
            continue;
        }
        let labels: Labels =
            [(MESH_LABEL, mesh), (MANAGED_BY, GENERATOR), (ENV, "universal"), (ZONE, settings.zone.as_str())]
                .map(|(label, value)| (label.to_owned(), value.to_owned()))
                .into();
        match Spec::of(Workload {}) {
            Ok(spec) => pass.put(key, labels, spec, Some(Key::global(MESH, mesh))),
            Err(error) => pass.fault(format!("{key}: {error}")),
        }
    }
}

/// Counts the dataplanes of each local Workload of a mesh.
pub fn keep_status(pass: &mut Pass, mesh: &str) {
    let dataplanes = pass.in_mesh(DATAPLANE, mesh);
    for workload in pass.in_mesh(WORKLOAD, mesh).into_iter().filter(|w| is_local(w)) {
        let mut counts = WorkloadProxies::default();
        for dataplane in dataplanes.iter().filter(|d| d.label(WORKLOAD_LABEL) == Some(display_name(&workload))) {
            let ready = dataplane.spec::<Dataplane>().is_some_and(|d| d.inbounds().iter().any(|i| i.is_ready()));
            counts.total += 1;
            counts.connected += u32::from(is_online(pass.state(), dataplane));
            counts.healthy += u32::from(ready);
        }
        pass.put_status(&workload.key, WorkloadStatus { dataplane_proxies: counts });
    }
}
