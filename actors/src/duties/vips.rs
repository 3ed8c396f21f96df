//! Virtual addresses of destinations.

use std::net::Ipv4Addr;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use ipnet::Ipv4Net;
use model::kinds::destination::Vip;
use model::kinds::mesh_external_service::MeshExternalServiceStatus;
use model::kinds::mesh_multi_zone_service::MeshMultiZoneServiceStatus;
use model::kinds::mesh_service::MeshServiceStatus;
use model::registry::{MESH_EXTERNAL_SERVICE, MESH_MULTI_ZONE_SERVICE, MESH_SERVICE};
use model::{Change, Key, Kind, Resource};

use super::pass::Pass;
use super::settings::DutySettings;

/// Gives every destination of every mesh that has no virtual address the next free one of its
/// kind's block. `high` remembers, by block, the last address given: those of deleted services are
/// not given again while this process leads, because clients may still use them.
pub fn keep(pass: &mut Pass, settings: &DutySettings, high: &mut LastGiven) {
    if !pass.focus().addresses {
        return;
    }
    for kind in [MESH_SERVICE, MESH_EXTERNAL_SERVICE, MESH_MULTI_ZONE_SERVICE] {
        let Some(block) = settings.cidr(kind) else { continue };
        let without = pass.index().given().without(kind);
        let taken = pass.index().given().taken.get(&kind).cloned().unwrap_or_default();
        let mut next = Addresses::after(block, taken, high.of(kind));
        for key in without {
            let Some(resource) = pass.state().get(&key).cloned() else { continue };
            match next.take() {
                Some(ip) => {
                    *high.of(kind) = Some(ip);
                    give(pass, &resource, ip);
                }
                None => pass.fault(format!("{key}: no free address is left in {block}")),
            }
        }
    }
}

/// Which addresses destinations have, by kind, and which destinations have none.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// How many have an address.
    taken: OrdMap<Kind, OrdMap<Ipv4Addr, usize>>,
    without: OrdMap<Kind, OrdSet<Key>>,
}

impl Given {
    /// Follows a change of a destination.
    pub(super) fn follow(&mut self, change: &Change) {
        let kind = change.key.kind;
        let addresses = |resource: &Option<Arc<Resource>>| -> Vec<Ipv4Addr> {
            resource.iter().flat_map(|r| vips(r)).filter_map(|ip| ip.parse().ok()).collect()
        };
        let taken = self.taken.entry(kind).or_default();
        for ip in addresses(&change.before) {
            match taken.get_mut(&ip) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    taken.remove(&ip);
                }
            }
        }
        for ip in addresses(&change.after) {
            *taken.entry(ip).or_insert(0) += 1;
        }
        let without = self.without.entry(kind).or_default();
        if change.after.as_ref().is_some_and(|after| vips(after).is_empty()) {
            without.insert(change.key.clone());
        } else {
            without.remove(&change.key);
        }
    }

    /// The destinations of a kind that have no address.
    pub(super) fn without(&self, kind: Kind) -> OrdSet<Key> {
        self.without.get(&kind).cloned().unwrap_or_default()
    }
}

/// The last address that was given, by kind.
#[derive(Clone, Debug, Default)]
pub struct LastGiven {
    service: Option<Ipv4Addr>,
    external: Option<Ipv4Addr>,
    multi_zone: Option<Ipv4Addr>,
}

impl LastGiven {
    fn of(&mut self, kind: Kind) -> &mut Option<Ipv4Addr> {
        if kind == MESH_SERVICE {
            &mut self.service
        } else if kind == MESH_EXTERNAL_SERVICE {
            &mut self.external
        } else {
            &mut self.multi_zone
        }
    }
}

/// Free addresses of a block, in order.
struct Addresses {
    block: Ipv4Net,
    taken: OrdMap<Ipv4Addr, usize>,
    next: u32,
}

impl Addresses {
    fn after(block: Ipv4Net, taken: OrdMap<Ipv4Addr, usize>, last: &Option<Ipv4Addr>) -> Self {
        let next = last.map_or(block.network().to_bits(), |ip| ip.to_bits().saturating_add(1));
        Self { block, taken, next }
    }

    fn take(&mut self) -> Option<Ipv4Addr> {
        loop {
            let ip = Ipv4Addr::from_bits(self.next);
            if !self.block.contains(&ip) {
                return None;
            }
            self.next = self.next.checked_add(1)?;
            if !self.taken.contains_key(&ip) {
                return Some(ip);
            }
        }
    }
}

/// The virtual addresses of a destination.
pub fn vips(resource: &Resource) -> Vec<&str> {
    if let Some(status) = resource.status::<MeshServiceStatus>() {
        status.vips.iter().map(|v| v.ip.as_str()).collect()
    } else if let Some(status) = resource.status::<MeshMultiZoneServiceStatus>() {
        status.vips.iter().map(|v| v.ip.as_str()).collect()
    } else if let Some(status) = resource.status::<MeshExternalServiceStatus>() {
        Some(status.vip.ip.as_str()).filter(|ip| !ip.is_empty()).into_iter().collect()
    } else {
        Vec::new()
    }
}

fn give(pass: &mut Pass, resource: &Arc<Resource>, ip: Ipv4Addr) {
    let vip = Vip { ip: ip.to_string() };
    let key = &resource.key;
    if key.kind == MESH_SERVICE {
        let mut status = resource.status::<MeshServiceStatus>().cloned().unwrap_or_default();
        status.vips.push(vip);
        pass.put_status(key, status);
    } else if key.kind == MESH_MULTI_ZONE_SERVICE {
        let mut status = resource.status::<MeshMultiZoneServiceStatus>().cloned().unwrap_or_default();
        status.vips.push(vip);
        pass.put_status(key, status);
    } else {
        let mut status = resource.status::<MeshExternalServiceStatus>().cloned().unwrap_or_default();
        status.vip = vip;
        pass.put_status(key, status);
    }
}
