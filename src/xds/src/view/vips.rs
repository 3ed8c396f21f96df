//! Under which addresses proxies reach the destinations of a mesh.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::MeshView;
use super::destinations::{Destination, Port};
use crate::generators::outbound::Outbound;
use crate::proxy_config::ContentHash;

/// Outbounds of a proxy. Equal ones are shared by proxies.
#[derive(Clone, Debug, Default)]
pub struct Outbounds {
    /// The outbounds, in the order of [`MeshView::destinations`].
    pub list: Arc<Vec<Outbound>>,
    /// Equal for equal outbounds.
    pub hash: ContentHash,
}

impl Outbounds {
    /// These outbounds.
    pub fn new(list: Vec<Outbound>) -> Self {
        let mut hasher = Xxh3::new();
        for outbound in &list {
            (&outbound.address, outbound.port, &outbound.destination).hash(&mut hasher);
        }
        Self { list: Arc::new(list), hash: ContentHash(hasher.finish()) }
    }
}

/// Every destination port under each of its virtual addresses.
#[derive(Debug)]
pub(crate) struct Vips {
    outbounds: Outbounds,
    addresses: BTreeSet<(String, u16)>,
}

impl Vips {
    fn of(view: &MeshView) -> Self {
        let list: Vec<_> = view.destinations().flat_map(|d| vip_outbounds(d, |_| true)).collect();
        let addresses = list.iter().map(|outbound| (outbound.address.clone(), outbound.port)).collect();
        Self { outbounds: Outbounds::new(list), addresses }
    }
}

/// The ports of a destination that are wanted, under each of its virtual addresses.
pub(crate) fn vip_outbounds(
    destination: &Destination,
    wanted: impl Fn(&Port) -> bool,
) -> impl Iterator<Item = Outbound> {
    let ports = destination.ports.iter().filter(move |port| wanted(port));
    ports.flat_map(|port| {
        destination.vips.iter().map(|vip| Outbound {
            address: vip.clone(),
            port: port.number,
            destination: destination.port_kri(port),
        })
    })
}

impl MeshView {
    /// The outbounds of a proxy that may call everything and listens itself on these addresses: an
    /// outbound there would take its own traffic away.
    pub(crate) fn vip_outbounds_without(&self, own: &BTreeSet<(&str, u16)>) -> Outbounds {
        let vips = self.vips.get_or_init(|| Vips::of(self));
        let is_own = |outbound: &&Outbound| own.contains(&(outbound.address.as_str(), outbound.port));
        if !own.iter().any(|(address, port)| vips.addresses.contains(&((*address).to_owned(), *port))) {
            return vips.outbounds.clone();
        }
        Outbounds::new(vips.outbounds.list.iter().filter(|outbound| !is_own(outbound)).cloned().collect())
    }
}
