//! Hostnames of destinations, made by HostnameGenerators.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::go_template::{Data, GoTemplate};
use model::kinds::conditions::Condition;
use model::kinds::destination::{Address, HOSTNAME_GENERATOR_ORIGIN, HostnameGeneratorRef, HostnameGeneratorStatus};
use model::kinds::hostname_generator::HostnameGenerator;
use model::kinds::mesh_external_service::MeshExternalServiceStatus;
use model::kinds::mesh_multi_zone_service::MeshMultiZoneServiceStatus;
use model::kinds::mesh_service::MeshServiceStatus;
use model::kinds::selector::LabelSelector;
use model::registry::{HOSTNAME_GENERATOR, MESH_EXTERNAL_SERVICE, MESH_MULTI_ZONE_SERVICE, MESH_SERVICE};
use model::{Kind, Resource};

use model::kri::display_name;
use model::labels::{NAMESPACE, ORIGIN, ZONE};

use super::pass::Pass;
use super::settings::DutySettings;

/// What the generators made of one destination, by the generator's name.
type Made = BTreeMap<String, (Option<String>, Condition)>;

/// Brings the hostnames of all destinations of a mesh up to date.
pub fn keep(pass: &mut Pass, mesh: &str, settings: &DutySettings) {
    let generators = generators(pass);
    for kind in [MESH_SERVICE, MESH_EXTERNAL_SERVICE, MESH_MULTI_ZONE_SERVICE] {
        let mut destinations = pass.in_mesh(kind, mesh);
        destinations.sort_by(|a, b| (a.meta.creation_time, &a.key.name).cmp(&(b.meta.creation_time, &b.key.name)));
        let mut taken = BTreeSet::new();
        let mut made: Vec<Made> = destinations.iter().map(|_| Made::new()).collect();
        for (name, generator) in &generators {
            let Some(selector) = selector(generator, kind) else { continue };
            let template = GoTemplate::parse(&generator.template);
            for (destination, made) in destinations.iter().zip(&mut made) {
                if !selector.matches(&destination.meta.labels) {
                    continue;
                }
                let rendered = match &template {
                    Ok(template) => render(template, destination, settings),
                    Err(error) => Err(format!("failed compiling gotemplate error=\"{error}\"")),
                };
                made.insert(name.clone(), judge(rendered, destination, &mut taken));
            }
        }
        for (destination, made) in destinations.iter().zip(made) {
            record(pass, destination, made);
        }
    }
}

/// All generators: those of the zone first, then by age and name.
fn generators(pass: &Pass) -> Vec<(String, HostnameGenerator)> {
    let mut all: Vec<_> = pass.state().of_kind(HOSTNAME_GENERATOR).cloned().collect();
    all.sort_by_key(|r| (r.label(ORIGIN) != Some("zone"), r.meta.creation_time, Arc::clone(&r.key.name)));
    all.iter().filter_map(|r| Some((r.key.name.to_string(), r.spec::<HostnameGenerator>()?.clone()))).collect()
}

fn selector(generator: &HostnameGenerator, kind: Kind) -> Option<&LabelSelector> {
    let selector = &generator.selector;
    if kind == MESH_SERVICE {
        selector.mesh_service.as_ref()
    } else if kind == MESH_EXTERNAL_SERVICE {
        selector.mesh_external_service.as_ref()
    } else {
        selector.mesh_multi_zone_service.as_ref()
    }
}

fn render(template: &GoTemplate, destination: &Resource, settings: &DutySettings) -> Result<String, String> {
    let label = |key: &str| destination.label(key).map(str::to_owned);
    let fields = BTreeMap::from([
        ("Name", destination.key.name.to_string()),
        ("DisplayName", display_name(destination).to_owned()),
        ("Namespace", label(NAMESPACE).unwrap_or_default()),
        ("Mesh", destination.key.mesh.to_string()),
        ("Zone", label(ZONE).unwrap_or_else(|| settings.zone.clone())),
    ]);
    let hostname = template
        .render(&Data { fields: &fields, label: &label })
        .map_err(|error| format!("pre evaluation of template with parameters failed with error=\"{error}\""))?;
    let faults = model::names::dns_1123_subdomain(&hostname);
    if faults.is_empty() {
        Ok(hostname)
    } else {
        Err(format!("generated hostname \"{hostname}\" is not a valid DNS name: {}", faults.join(", ")))
    }
}

/// Takes the hostname for the destination unless another one of its kind has it.
fn judge(
    rendered: Result<String, String>,
    destination: &Resource,
    taken: &mut BTreeSet<String>,
) -> (Option<String>, Condition) {
    match rendered {
        Err(message) => (None, Condition::fails("Generated", "TemplateError", message)),
        Ok(hostname) if taken.insert(hostname.clone()) => {
            (Some(hostname), Condition::holds("Generated", "Generated", ""))
        }
        Ok(_) => {
            let (kind, name) = (destination.key.kind, &destination.key.name);
            (None, Condition::fails("Generated", "Collision", format!("Hostname collision with {kind}: {name}")))
        }
    }
}

/// Writes what was made into the destination's status; addresses of another origin stay.
fn record(pass: &mut Pass, destination: &Resource, made: Made) {
    let mut statuses = Vec::new();
    let mut made_addresses = Vec::new();
    for (core_name, (hostname, condition)) in made {
        let hostname_generator_ref = HostnameGeneratorRef { core_name };
        if let Some(hostname) = hostname {
            made_addresses.push(Address {
                hostname,
                origin: HOSTNAME_GENERATOR_ORIGIN.to_owned(),
                hostname_generator_ref: hostname_generator_ref.clone(),
            });
        }
        statuses.push(HostnameGeneratorStatus { hostname_generator_ref, conditions: vec![condition] });
    }
    let key = &destination.key;
    // A destination that no generator selects gets no status for that alone.
    if destination.status.is_none() && statuses.is_empty() {
        return;
    }
    let merge = |old: &[Address]| -> Vec<Address> {
        let foreign = old.iter().filter(|a| a.origin != HOSTNAME_GENERATOR_ORIGIN).cloned();
        foreign.chain(made_addresses.iter().cloned()).collect()
    };
    if key.kind == MESH_SERVICE {
        let mut status = destination.status::<MeshServiceStatus>().cloned().unwrap_or_default();
        status.addresses = merge(&status.addresses);
        status.hostname_generators = statuses;
        pass.put_status(key, status);
    } else if key.kind == MESH_EXTERNAL_SERVICE {
        let mut status = destination.status::<MeshExternalServiceStatus>().cloned().unwrap_or_default();
        status.addresses = merge(&status.addresses);
        status.hostname_generators = statuses;
        pass.put_status(key, status);
    } else {
        let mut status = destination.status::<MeshMultiZoneServiceStatus>().cloned().unwrap_or_default();
        status.addresses = merge(&status.addresses);
        status.hostname_generators = statuses;
        pass.put_status(key, status);
    }
}
