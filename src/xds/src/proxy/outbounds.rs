//! Which destinations a proxy calls, and under which addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::kinds::dataplane::Dataplane;
use policy::Destination as Candidate;

use crate::generators::outbound::Outbound;
use crate::view::vips::vip_outbounds;
use crate::view::{DESTINATION_KINDS, DataplaneEntry, Destination, MeshView, Outbounds, Port, ReachRef, reach};

/// The outbounds of a proxy. `by_vip` is whether it listens on the virtual addresses of destinations:
/// its traffic is redirected, or it binds them.
pub(super) fn outbounds(view: &MeshView, entry: &DataplaneEntry, by_vip: bool) -> Outbounds {
    if !by_vip {
        return Outbounds::new(named_outbounds(view, entry));
    }
    let own = own_addresses(&entry.spec);
    if entry.reach.all || entry.spec.networking.as_ref().is_none_or(|n| n.transparent_proxying.is_none()) {
        return view.vip_outbounds_without(&own);
    }
    let mut found: BTreeMap<_, Outbound> = BTreeMap::new();
    for reference in &entry.reach.refs {
        for destination in destinations_of(view, reference) {
            let wanted = |port: &Port| match &reference.section {
                None => true,
                Some(section) => destination.port(section).is_some_and(|named| named == port),
            };
            for outbound in vip_outbounds(&destination, wanted) {
                if !own.contains(&(outbound.address.as_str(), outbound.port)) {
                    let kind = DESTINATION_KINDS.iter().position(|kind| *kind == destination.key.kind);
                    let place = (kind, destination.key.clone(), outbound.port, outbound.address.clone());
                    found.insert(place, outbound);
                }
            }
        }
    }
    Outbounds::new(found.into_values().collect())
}

fn own_addresses(spec: &Dataplane) -> BTreeSet<(&str, u16)> {
    let Some(networking) = &spec.networking else { return BTreeSet::new() };
    let inbounds = networking.inbound.iter();
    inbounds.filter_map(|i| Some((networking.inbound_address(i), u16::try_from(i.port).ok()?))).collect()
}

fn candidates(view: &MeshView, reference: &ReachRef) -> Vec<Arc<Candidate>> {
    view.policies().destinations().select(reference.kind, &reference.labels)
}

fn destinations_of(view: &MeshView, reference: &ReachRef) -> Vec<Arc<Destination>> {
    candidates(view, reference).iter().filter_map(|found| view.destination(&found.kri).cloned()).collect()
}

/// The outbounds that a Dataplane lists itself. One whose destination is not there is left out.
fn named_outbounds(view: &MeshView, entry: &DataplaneEntry) -> Vec<Outbound> {
    let outbound = |outbound: &model::kinds::dataplane::Outbound| {
        let reference = reach::of_outbound(outbound.backend_ref.as_ref()?, &entry.labels)?;
        let found = candidates(view, &reference);
        let oldest = found.iter().min_by_key(|found| (found.resource.meta.creation_time, &found.kri))?;
        let destination = view.destination(&oldest.kri)?;
        let port = destination.port(reference.section.as_deref().unwrap_or_default())?;
        Some(Outbound {
            address: outbound.listen_address().to_owned(),
            port: u16::try_from(outbound.port).ok()?,
            destination: destination.port_kri(port),
        })
    };
    entry.spec.outbounds().iter().filter_map(outbound).collect()
}
