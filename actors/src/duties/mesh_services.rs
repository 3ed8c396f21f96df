//! MeshServices of a Universal zone, made from its Dataplanes: one a workload.

use std::sync::Arc;

use model::kinds::dataplane::{Dataplane, Inbound};
use model::kinds::int_or_string::IntOrString;
use model::kinds::mesh_service::{MeshService, MeshServiceSelector, Port};
use model::kinds::protocol::Protocol;
use model::kinds::selector::LabelSelector;
use model::registry::{DATAPLANE, MESH, MESH_SERVICE};
use model::{Key, Labels, Resource, Spec, Timestamp};

use model::labels::{
    DELETION_GRACE_PERIOD_STARTED_AT as GRACE_LABEL, DISPLAY_NAME, ENV, MANAGED_BY, MESH as MESH_LABEL, ORIGIN,
    WORKLOAD, ZONE,
};

use super::collection::{is_local, workload};
use super::pass::Pass;
use super::settings::DutySettings;

const GENERATOR: &str = "meshservice-generator";

/// Makes, updates and removes the generated MeshServices of workloads. A service that lost its last
/// dataplane stays for the grace period, so that its address survives a redeployment.
pub fn keep(pass: &mut Pass, settings: &DutySettings) {
    for (mesh, name) in pass.focus().workloads.clone() {
        let key = Key { kind: MESH_SERVICE, mesh, name: name.as_str().into() };
        let dataplanes = dataplanes(pass, &key.mesh, &name);
        match pass.state().get(&key).cloned() {
            // Somebody else's service of that name stays as it is.
            Some(existing) if !is_local(&existing) || existing.label(MANAGED_BY) != Some(GENERATOR) => {}
            Some(existing) if dataplanes.is_empty() => retire(pass, &existing, settings),
            Some(existing) => update(pass, &existing, &dataplanes, settings),
            None => create(pass, key, &name, &dataplanes, settings),
        }
    }
}

/// The dataplanes of a workload that can stand behind a service, oldest first.
fn dataplanes(pass: &Pass, mesh: &Arc<str>, name: &str) -> Vec<Arc<Resource>> {
    let named = pass.index().dataplanes(mesh, &[(WORKLOAD.to_owned(), name.to_owned())].into());
    let key = |name: &Arc<str>| Key { kind: DATAPLANE, mesh: Arc::clone(mesh), name: Arc::clone(name) };
    let mut dataplanes: Vec<_> = named.iter().filter_map(|name| pass.state().get(&key(name)).cloned()).collect();
    dataplanes.retain(|dataplane| {
        let has_inbounds = dataplane.spec::<Dataplane>().is_some_and(|d| !d.inbounds().is_empty());
        has_inbounds && workload(dataplane).is_some()
    });
    dataplanes.sort_by(|a, b| (a.meta.creation_time, &a.key.name).cmp(&(b.meta.creation_time, &b.key.name)));
    dataplanes
}

fn create(pass: &mut Pass, key: Key, name: &str, dataplanes: &[Arc<Resource>], settings: &DutySettings) {
    let Some(first) = dataplanes.first() else { return };
    let spec = MeshService {
        selector: MeshServiceSelector {
            dataplane_labels: Some(LabelSelector {
                match_labels: Some([(WORKLOAD.to_owned(), name.to_owned())].into()),
            }),
            ..MeshServiceSelector::default()
        },
        ports: ports(first),
        ..MeshService::default()
    };
    let labels = labels(&Labels::new(), &key, dataplanes, settings);
    let owner = Key::global(MESH, &key.mesh);
    write(pass, key, labels, spec, Some(owner));
}

/// Brings ports and labels up to date. State, identities and status stay: the address of a service
/// must not change because one of its ports did.
fn update(pass: &mut Pass, existing: &Resource, dataplanes: &[Arc<Resource>], settings: &DutySettings) {
    let (Some(spec), Some(first)) = (existing.spec::<MeshService>(), dataplanes.first()) else { return };
    let keeps_ports = dataplanes.iter().any(|dataplane| ports(dataplane) == spec.ports);
    let wanted_ports = if keeps_ports { spec.ports.clone() } else { ports(first) };
    let labels = labels(&existing.meta.labels, &existing.key, dataplanes, settings);
    if labels != existing.meta.labels || wanted_ports != spec.ports {
        let spec = MeshService { ports: wanted_ports, ..spec.clone() };
        write(pass, existing.key.clone(), labels, spec, None);
    }
}

fn write(pass: &mut Pass, key: Key, labels: Labels, spec: MeshService, owner: Option<Key>) {
    match Spec::of(spec) {
        Ok(spec) => pass.put(key, labels, spec, owner),
        Err(error) => pass.fault(format!("{key}: {error}")),
    }
}

/// Starts the grace period of a service without dataplanes, or deletes it when that is over.
fn retire(pass: &mut Pass, service: &Resource, settings: &DutySettings) {
    let started = service.label(GRACE_LABEL).and_then(|text| text.parse::<Timestamp>().ok());
    let grace = jiff::SignedDuration::try_from(settings.deletion_grace_period).unwrap_or(jiff::SignedDuration::MAX);
    let Some(started) = started else {
        let mut labels = service.meta.labels.clone();
        let now = pass.now();
        labels.insert(GRACE_LABEL.to_owned(), now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        pass.put(service.key.clone(), labels, service.spec.clone(), None);
        if let Ok(end) = now.checked_add(grace) {
            pass.wake_at(end);
        }
        return;
    };
    match started.checked_add(grace) {
        Ok(end) if end <= pass.now() => pass.delete(&service.key),
        Ok(end) => pass.wake_at(end),
        Err(_) => {}
    }
}

/// One port an inbound, in order.
fn ports(dataplane: &Resource) -> Vec<Port> {
    let inbounds = dataplane.spec::<Dataplane>().map_or(&[][..], Dataplane::inbounds);
    inbounds.iter().filter_map(port).collect()
}

fn port(inbound: &Inbound) -> Option<Port> {
    let number = i32::try_from(inbound.port).ok()?;
    let protocol = match inbound.parsed_protocol() {
        Protocol::Unknown => Protocol::Tcp,
        known => known,
    };
    Some(Port {
        name: Some(inbound.section_name()),
        port: number,
        target_port: Some(IntOrString::Int(number)),
        app_protocol: protocol.as_str().to_owned(),
    })
}

fn labels(existing: &Labels, key: &Key, dataplanes: &[Arc<Resource>], settings: &DutySettings) -> Labels {
    let mut labels = match &settings.label_propagation {
        None => existing.clone(),
        Some(propagation) => super::label_propagation::propagate(existing, dataplanes, propagation),
    };
    labels.remove(GRACE_LABEL);
    for (label, value) in [
        (MESH_LABEL, &*key.mesh),
        (DISPLAY_NAME, &*key.name),
        (MANAGED_BY, GENERATOR),
        (ENV, "universal"),
        (ZONE, settings.zone.as_str()),
        (ORIGIN, "zone"),
    ] {
        labels.insert(label.to_owned(), value.to_owned());
    }
    labels
}
