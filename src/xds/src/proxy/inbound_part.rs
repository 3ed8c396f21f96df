//! A proxy's inbounds. Proxies of which policies say the same have inbounds that differ in addresses and
//! tags alone: they are made once for all of them, and each proxy fills in what is its own.

use std::net::IpAddr;
use std::sync::Arc;

use model::registry;
use policy::InboundKey;

use super::derived::Proxy;
use super::edit::Part;
use super::parts::OwnPart;
use super::shared::{Count, InputsHash, digest};
use crate::bootstrap::Feature;
use crate::encode::Template;
use crate::generators::inbound::{self, Inbound, InboundTraits};
use crate::names;
use crate::proxy_config::{EncodedResource, PolicyFault, ResourceType};
use crate::resource_set::ResourceSet;

/// The inbounds of some proxy, as policies left them.
#[derive(Debug)]
pub(super) struct InboundClass {
    listeners: Vec<Template>,
    clusters: Vec<Template>,
    faults: Vec<PolicyFault>,
}

impl Proxy<'_> {
    /// What its inbounds have in common.
    pub(super) fn inbound_traits(&self) -> InboundTraits<'_> {
        InboundTraits {
            labels: &self.entry.resource.meta.labels,
            transparent: self.is_transparent,
            reuse_port: self.has(Feature::ReusePort),
            internal: self.internal(),
        }
    }

    /// Its inbounds, before policies edit them.
    pub(super) fn inbound_resources(&self) -> ResourceSet {
        inbound::generate(&self.inbounds, &self.inbound_traits())
    }

    /// Its inbounds, encoded.
    pub(super) fn inbound_part(&self) -> OwnPart {
        let Some(key) = self.inbound_class() else {
            self.view.shared.count(Count::Inbounds);
            return self.finished(Part::Inbounds, self.inbound_resources(), Vec::new());
        };
        let class = self.view.shared.inbounds(key, || self.make_inbound_class());
        let traits = self.inbound_traits();
        let count = |resource: EncodedResource| {
            self.view.shared.count(Count::Encoded(resource.ty));
            Arc::new(resource)
        };
        let listeners = class.listeners.iter().filter_map(|common| {
            let inbound = self.inbound_named(common.name())?;
            Some(count(common.with(&inbound::own_of_listener(common.name(), inbound, &traits))))
        });
        let clusters = class.clusters.iter().filter_map(|common| {
            let inbound = self.inbound_named(common.name())?;
            Some(count(common.with(&inbound::own_of_cluster(common.name(), inbound))))
        });
        let resources = listeners.chain(clusters).collect();
        OwnPart::new(resources, class.faults.clone())
    }

    /// Of two inbounds with one section the later counts.
    fn inbound_named(&self, name: &str) -> Option<&Inbound> {
        self.inbounds.iter().rev().find(|inbound| names::inbound(&inbound.section) == name)
    }

    fn make_inbound_class(&self) -> InboundClass {
        self.view.shared.count(Count::Inbounds);
        let (mut set, mut faults) = (self.inbound_resources(), Vec::new());
        self.edit(Part::Inbounds, &mut set, &mut faults);
        self.drop_invalid(&mut set, &mut faults);
        let messages = set.finish();
        let listener = |message| {
            let common = inbound::common_of_listener(message);
            Template::new(ResourceType::Listener, &common.name, &common)
        };
        let cluster = |message| {
            let common = inbound::common_of_cluster(message);
            Template::new(ResourceType::Cluster, &common.name, &common)
        };
        let listeners = messages.listeners.into_iter().map(listener).collect();
        InboundClass { listeners, clusters: messages.clusters.into_iter().map(cluster).collect(), faults }
    }

    /// A digest of everything that its inbounds depend on but addresses and tags; `None` when policies
    /// look at more of the proxy.
    fn inbound_class(&self) -> Option<InputsHash> {
        let logs = self.rules.get(&registry::MESH_ACCESS_LOG).is_some_and(|rules| !rules.inbound.is_empty());
        let traces = self.rules.get(&registry::MESH_TRACE).is_some_and(|rules| rules.proxy.is_some());
        if logs || traces || !self.zone_listeners.is_empty() {
            return None;
        }
        let of = |inbound: &Inbound| {
            let policies = self.view.policies();
            let at = InboundKey { address: inbound.address.as_str().into(), port: u32::from(inbound.port) };
            let rules = self.rules.values().filter(|rules| Part::Inbounds.is_edited_by(rules.kind));
            let said = rules.filter_map(|rules| Some((rules.kind, policies.inbound_digest(rules.inbound.get(&at)?))));
            let is_v6 = |address: &str| address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
            // A loopback address is its own for nobody, and such a workload is reached in another way.
            let is_loopback = matches!(inbound.workload_address.as_str(), "127.0.0.1" | "::1");
            let is_own = inbound.workload_address == inbound.address && !is_loopback;
            let workload = if is_own { "" } else { &inbound.workload_address };
            let place = (is_own, workload, is_v6(&inbound.workload_address), inbound.port, inbound.workload_port);
            digest((&inbound.section, inbound.protocol, place, said.collect::<Vec<_>>()))
        };
        let inbounds: Vec<_> = self.inbounds.iter().map(of).collect();
        let traits = self.inbound_traits();
        let common = (traits.transparent, traits.reuse_port, traits.internal, traits.labels.is_empty());
        Some(digest((inbounds, common, &self.identity, &self.trust_domains, self.view.mesh())))
    }
}
