//! What follows from a proxy's inputs and the picture of its mesh, before anything is generated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::kinds::dataplane::{Dataplane, IpFamilyMode, ListenerType, TransparentProxying};
use model::{Kind, Resource, registry};
use policy::Rules;

use super::{ProxyInputs, outbounds};
use crate::bootstrap::{self, Feature, ProxyMetadata, RedirectPort, TransparentProxyConfig};
use crate::generators::dataplane::{inbounds, zone_listeners};
use crate::generators::inbound::Inbound;
use crate::generators::internal_addresses::InternalAddresses;
use crate::generators::outbound::{OutboundTraits, kuma_tags};
use crate::generators::tls::TlsIdentity;
use crate::generators::transparent_proxy;
use crate::generators::zone_listener::ZoneListener;
use crate::policies::ProxyTraits;
use crate::resource_set::Origin;
use crate::view::{DataplaneEntry, MeshView, Outbounds};

/// A proxy with all that generators and policies want to know of it.
pub(super) struct Proxy<'a> {
    pub(super) view: &'a MeshView,
    pub(super) inputs: &'a ProxyInputs,
    pub(super) entry: &'a Arc<DataplaneEntry>,
    pub(super) redirection: TransparentProxyConfig,
    /// Whether its traffic is redirected.
    pub(super) is_transparent: bool,
    /// Whether it binds the addresses of all destinations.
    pub(super) binds_outbounds: bool,
    pub(super) outbounds: Outbounds,
    pub(super) outbound_traits: OutboundTraits,
    pub(super) identity: Option<TlsIdentity>,
    pub(super) inbounds: Vec<Inbound>,
    pub(super) zone_listeners: Vec<ZoneListener>,
    pub(super) passthrough: Option<transparent_proxy::Inputs>,
    pub(super) trust_domains: BTreeSet<String>,
    pub(super) gateway_tags: BTreeMap<String, String>,
    pub(super) rules: Arc<BTreeMap<Kind, Rules>>,
    pub(super) otel_backends: Vec<Arc<Resource>>,
    pub(super) zone_origins: BTreeSet<Origin>,
}

impl<'a> Proxy<'a> {
    pub(super) fn derive(
        view: &'a MeshView,
        inputs: &'a ProxyInputs,
        entry: &'a Arc<DataplaneEntry>,
        rules: Arc<BTreeMap<Kind, Rules>>,
        known_outbounds: Option<Outbounds>,
    ) -> Self {
        let networking = entry.spec.networking.as_ref();
        let redirection = redirection_of(&entry.spec, &inputs.metadata);
        let is_transparent = redirection.enabled(entry.spec.address());
        let binds_outbounds = inputs.metadata.has(Feature::BindOutbounds);
        let identity = inputs.identity.as_ref().map(|identity| identity.tls());
        let inbounds = inbounds(&entry.spec);
        let outbound_traits = OutboundTraits {
            bind_to_port: !is_transparent || binds_outbounds,
            internal: view.settings().internal_addresses.for_proxy(inputs.metadata.ipv6_enabled),
            kuma_tags: view.are_kuma_tags_used().then(|| kuma_tags(&entry.resource.meta.labels)),
        };
        let mut listeners = zone_listeners(&entry.spec, ListenerType::ZoneIngress);
        listeners.extend(zone_listeners(&entry.spec, ListenerType::ZoneEgress));
        let gateway = networking.and_then(|n| n.gateway.as_ref());
        let mut proxy = Self {
            outbounds: known_outbounds
                .unwrap_or_else(|| outbounds::outbounds(view, entry, is_transparent || binds_outbounds)),
            view,
            inputs,
            entry,
            redirection,
            is_transparent,
            binds_outbounds,
            outbound_traits,
            identity,
            inbounds,
            zone_listeners: listeners,
            passthrough: None,
            trust_domains: view.trusted_cas().keys().cloned().collect(),
            gateway_tags: gateway.map(|gateway| gateway.tags.clone()).unwrap_or_default(),
            rules,
            zone_origins: zone_origins(&entry.spec),
            otel_backends: view.of_kind(registry::MESH_OPEN_TELEMETRY_BACKEND).cloned().collect(),
        };
        proxy.passthrough = proxy.passthrough_inputs();
        proxy
    }

    fn passthrough_inputs(&self) -> Option<transparent_proxy::Inputs> {
        let redirect = &self.redirection.redirect;
        if !self.is_transparent || self.binds_outbounds || !redirect.outbound.enabled {
            return None;
        }
        let is_strict = self.has(Feature::StrictInboundPorts) && self.identity.is_some() && !self.inbounds.is_empty();
        Some(transparent_proxy::Inputs {
            redirect_port_inbound: redirect.inbound.port,
            redirect_port_outbound: redirect.outbound.port,
            ipv6: self.redirection.enabled_ipv6(),
            reuse_port: self.has(Feature::ReusePort),
            strict_inbound_ports: is_strict.then(|| self.inbounds.iter().map(|inbound| inbound.port).collect()),
        })
    }

    pub(super) fn has(&self, feature: Feature) -> bool {
        self.inputs.metadata.has(feature)
    }

    pub(super) fn internal(&self) -> &InternalAddresses {
        &self.outbound_traits.internal
    }

    /// What policies know of it.
    pub(super) fn traits(&self) -> ProxyTraits<'_> {
        ProxyTraits {
            mesh: self.view.mesh(),
            name: &self.inputs.dataplane,
            address: self.entry.spec.address(),
            labels: &self.entry.resource.meta.labels,
            gateway_tags: &self.gateway_tags,
            zone: &self.view.settings().zone,
            identity: self.identity.as_ref(),
            trust_domains: &self.trust_domains,
            inbounds: &self.inbounds,
            is_gateway: self.entry.spec.networking.as_ref().is_some_and(|networking| networking.gateway.is_some()),
            zone_listeners: &self.zone_listeners,
            zone_origins: &self.zone_origins,
            passthrough: self.passthrough.as_ref(),
            internal: self.internal(),
            strict_inbound_ports: self.has(Feature::StrictInboundPorts),
            metadata: &self.inputs.metadata,
            otel_backends: &self.otel_backends,
        }
    }
}

/// What the zone listeners of a Dataplane are.
fn zone_origins(spec: &Dataplane) -> BTreeSet<Origin> {
    let kinds = [(ListenerType::ZoneIngress, Origin::Ingress), (ListenerType::ZoneEgress, Origin::Egress)];
    kinds.into_iter().filter(|(kind, _)| !zone_listeners(spec, *kind).is_empty()).map(|(_, origin)| origin).collect()
}

/// The redirection in force for a proxy.
pub(crate) fn redirection_of(spec: &Dataplane, metadata: &ProxyMetadata) -> TransparentProxyConfig {
    let described = spec.networking.as_ref().and_then(|networking| networking.transparent_proxying.as_ref());
    metadata.effective_transparent_proxy(described.map(of_dataplane).unwrap_or_default())
}

/// The redirection that a Dataplane describes.
fn of_dataplane(spec: &TransparentProxying) -> TransparentProxyConfig {
    let port = |port: u32| RedirectPort::to(u16::try_from(port).unwrap_or(0));
    let mut config = TransparentProxyConfig {
        ip_family_mode: match spec.ip_family_mode {
            IpFamilyMode::DualStack => bootstrap::IpFamilyMode::DualStack,
            IpFamilyMode::IPv4 => bootstrap::IpFamilyMode::Ipv4,
            IpFamilyMode::IPv6 => bootstrap::IpFamilyMode::Ipv6,
            IpFamilyMode::UnSpecified => bootstrap::IpFamilyMode::Unspecified,
        },
        ..TransparentProxyConfig::default()
    };
    config.redirect.inbound = port(spec.redirect_port_inbound);
    config.redirect.outbound = port(spec.redirect_port_outbound);
    config
}
