//! Hostnames of destinations, made by HostnameGenerators.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::kinds::conditions::Condition;
use model::kinds::destination::{Address, HOSTNAME_GENERATOR_ORIGIN, HostnameGeneratorRef, HostnameGeneratorStatus};
use model::kinds::mesh_external_service::MeshExternalServiceStatus;
use model::kinds::mesh_multi_zone_service::MeshMultiZoneServiceStatus;
use model::kinds::mesh_service::MeshServiceStatus;
use model::registry::{MESH_EXTERNAL_SERVICE, MESH_SERVICE};
use model::{Key, Resource};

use super::pass::Pass;

/// What the generators made of one destination, by the generator's name.
type Made = BTreeMap<String, (Option<String>, Condition)>;

/// Brings the hostnames of destinations up to date.
pub fn keep(pass: &mut Pass) {
    let generators = Arc::clone(pass.index().generators());
    for key in pass.focus().hostnames.clone() {
        let (Some(destination), Some(claims)) = (pass.state().get(&key).cloned(), pass.index().claims(&key.mesh))
        else {
            continue;
        };
        let judged = claims.of(&key).iter().map(|(rank, rendered)| {
            let wins = rendered.as_ref().is_ok_and(|hostname| claims.wins(&key, *rank, hostname));
            (generators.name(*rank).to_owned(), judge(rendered.clone(), wins, &key))
        });
        let made = judged.collect();
        record(pass, &destination, made);
    }
}

/// The hostname, when the destination gets it, and the condition that tells why or why not.
fn judge(rendered: Result<String, String>, wins: bool, destination: &Key) -> (Option<String>, Condition) {
    match rendered {
        Err(message) => (None, Condition::fails("Generated", "TemplateError", message)),
        Ok(hostname) if wins => (Some(hostname), Condition::holds("Generated", "Generated", "")),
        Ok(_) => {
            let (kind, name) = (destination.kind, &destination.name);
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
