//! All duties, in their order.

use std::sync::Arc;

use model::Key;
use model::registry::MESH;

use super::insights::{self, Pulses, close_dead, collect_garbage};
use super::pass::Pass;
use super::settings::DutySettings;
use super::vips::LastGiven;
use super::{hostnames, identities, mesh_services, multi_zone, service_status, vips, workloads};

/// What duties remember between passes.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    last_given: LastGiven,
    pulses: Pulses,
}

/// All duties over what is in focus. A `timed` pass also looks for what has died or waited long enough.
pub fn keep_all(pass: &mut Pass, timed: bool, settings: &DutySettings, memory: &mut Memory) {
    if settings.global {
        return;
    }
    if timed {
        close_dead(pass, settings, &mut memory.pulses);
        collect_garbage(pass, settings);
        let retiring: Vec<_> = pass.index().retiring().cloned().collect();
        retiring.iter().for_each(|service| pass.look_at(&service.mesh, &service.name));
    } else {
        insights::watch(pass, settings, &mut memory.pulses);
    }
    pass.leave_out(|state, mesh: &Arc<str>| state.get(&Key::global(MESH, mesh)).is_none());
    identities::keep(pass, settings);
    mesh_services::keep(pass, settings);
    workloads::keep(pass, settings);
    vips::keep(pass, settings, &mut memory.last_given);
    multi_zone::keep(pass);
    hostnames::keep(pass);
    service_status::keep(pass, settings);
    workloads::keep_status(pass);
}
