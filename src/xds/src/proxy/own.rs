//! What a proxy runs for itself: its surroundings (admin, passthrough, zone listeners), the names of its
//! destinations and its secrets.

use std::collections::BTreeSet;

use model::kinds::dataplane::ListenerType;
use model::{Key, registry};

use super::derived::Proxy;
use super::shared::{InputsHash, digest};
use super::{IdentitySource, WorkloadIdentity};
use crate::bootstrap::Feature;
use crate::generators::admin::{self, AdminCerts};
use crate::generators::dataplane::{peer_inbounds, zone_listeners};
use crate::generators::dns::{self, VipDomains};
use crate::generators::dynamic_config::Place;
use crate::generators::external_service::external_destination;
use crate::generators::identity::{certificate_secret, spire_cluster, trust_bundle_secret};
use crate::generators::outbound::load_assignment;
use crate::generators::zone_egress::{self, EgressTraits};
use crate::generators::zone_ingress::{self, IngressDestination};
use crate::generators::{direct_access, transparent_proxy};
use crate::proxy_config::PolicyFault;
use crate::resource_set::{Origin, ResourceSet};
use crate::view::Details;

/// Label of a dataplane with the service that it belongs to.
const SERVICE: &str = "kuma.io/service";

impl Proxy<'_> {
    /// Its surroundings, before policies edit them.
    pub(super) fn surrounding_resources(&self, faults: &mut Vec<PolicyFault>) -> ResourceSet {
        let mut set = self.admin(faults);
        if let Some(inputs) = &self.passthrough {
            set.append(transparent_proxy::generate(inputs));
        }
        set.append(self.direct_access());
        self.zone_ingress(&mut set);
        self.zone_egress(&mut set, faults);
        set
    }

    /// Certificates and trust: no policy edits these.
    pub(super) fn secrets(&self, set: &mut ResourceSet) {
        let identity = self.inputs.identity.as_deref();
        match identity.map(|identity| (identity, &identity.source)) {
            Some((identity, IdentitySource::Issued { chain_pem, key_pem })) => {
                let name = identity.mesh_identity.to_string();
                set.add_secret(Origin::IdentityBundled, certificate_secret(&name, chain_pem, key_pem));
            }
            Some((_, IdentitySource::Spire { connect_timeout })) => {
                let own = &self.inputs.metadata.spire_socket_path;
                let socket = if own.is_empty() { &self.view.settings().spire_socket_path } else { own };
                set.add_cluster(spire_cluster(socket, *connect_timeout));
            }
            Some((_, IdentitySource::Named)) | None => {}
        }
        if !identity.is_some_and(WorkloadIdentity::is_external)
            && let Some(bundle) = trust_bundle_secret(self.view.trusted_cas())
        {
            set.add_secret(Origin::MeshTrust, bundle);
        }
    }

    fn fault(&self, message: impl ToString) -> PolicyFault {
        PolicyFault { key: self.entry.resource.key.clone(), message: message.to_string() }
    }

    fn admin(&self, faults: &mut Vec<PolicyFault>) -> ResourceSet {
        let metadata = &self.inputs.metadata;
        let none = AdminCerts::default();
        let readiness_socket_path = if self.has(Feature::ReadinessUnixSocket) {
            format!("{}/kuma-readiness-reporter.sock", metadata.work_dir)
        } else {
            String::new()
        };
        let inputs = admin::Inputs {
            dataplane_address: self.entry.spec.address(),
            admin_address: &metadata.admin_address,
            admin_port: u16::try_from(metadata.admin_port).unwrap_or(0),
            admin_socket_path: &metadata.admin_socket_path,
            readiness_port: u16::try_from(metadata.readiness_port).unwrap_or(0),
            readiness_socket_path: &readiness_socket_path,
            reuse_port: self.has(Feature::ReusePort),
            ipv6: metadata.ipv6_enabled,
            certs: self.inputs.admin.as_deref().unwrap_or(&none),
        };
        admin::generate(&inputs).unwrap_or_else(|error| {
            faults.push(self.fault(error));
            ResourceSet::new()
        })
    }

    fn direct_access(&self) -> ResourceSet {
        let redirection = self.entry.spec.networking.as_ref().and_then(|n| n.transparent_proxying.as_ref());
        let services = redirection.map(|r| r.direct_access_services.as_slice()).unwrap_or_default();
        if !self.is_transparent || services.is_empty() {
            return ResourceSet::new();
        }
        let others = self.view.dataplanes().filter(|other| *other.name() != self.inputs.dataplane);
        let peers = others.flat_map(|other| peer_inbounds(&other.spec, other.labels.get(SERVICE).map(String::as_str)));
        let taken = self.outbounds.list.iter().map(|outbound| (outbound.address.as_str(), outbound.port)).collect();
        direct_access::generate(services, peers, &taken)
    }

    fn asks_for_names(&self) -> bool {
        self.is_transparent && !self.binds_outbounds && self.redirection.redirect.dns.enabled
    }

    /// A digest of all that the names of its destinations depend on within a view; `None` when it does not
    /// ask for names.
    pub(super) fn names_class(&self) -> Option<InputsHash> {
        let labels = dns::LABELS.map(|label| self.entry.resource.meta.labels.get(label));
        let place = self.place();
        let key = (self.outbounds.hash, labels, self.redirection.enabled_ipv6(), place.work_dir, place.ipv6);
        self.asks_for_names().then(|| digest(key))
    }

    /// The names of its destinations, for its DNS server.
    pub(super) fn dns(&self, set: &mut ResourceSet) {
        if !self.asks_for_names() {
            return;
        }
        let addresses: BTreeSet<_> = self.outbounds.list.iter().map(|outbound| outbound.address.as_str()).collect();
        let inputs = dns::Inputs {
            mesh: self.view.mesh(),
            labels: &self.entry.resource.meta.labels,
            outbound_addresses: &addresses,
            ipv6_mapped: self.redirection.enabled_ipv6(),
        };
        let mut last: Option<&Key> = None;
        let destinations =
            self.outbounds.list.iter().filter_map(|outbound| self.view.destination(&outbound.destination));
        let distinct = destinations.filter(|destination| last.replace(&destination.key) != Some(&destination.key));
        let vips = distinct.filter_map(|destination| {
            Some(VipDomains { address: destination.vips.first()?, domains: &destination.hostnames })
        });
        dns::generate(set, self.place(), &inputs, vips);
    }

    fn place(&self) -> Place<'_> {
        Place { work_dir: &self.inputs.metadata.work_dir, ipv6: self.inputs.metadata.ipv6_enabled }
    }

    fn zone_ingress(&self, set: &mut ResourceSet) {
        let listeners = zone_listeners(&self.entry.spec, ListenerType::ZoneIngress);
        if listeners.is_empty() {
            return;
        }
        let is_offered = |details: &Details, is_local| match details {
            Details::Service { .. } => is_local,
            Details::MultiZone(_) => true,
            Details::External(_) => false,
        };
        let offered = self.view.destinations().filter(|d| is_offered(&d.details, d.is_local));
        let backings = offered.filter_map(|destination| self.view.backing(&destination.key));
        let destinations: Vec<_> = backings
            .flat_map(|backing| &backing.ports)
            .map(|port| {
                let kri = port.port.kri.clone();
                let endpoints = load_assignment(&kri.to_string(), &port.local.endpoints).into();
                IngressDestination { kri, endpoints }
            })
            .collect();
        for listener in &listeners {
            set.append(zone_ingress::generate(listener, self.has(Feature::ReusePort), &destinations));
        }
    }

    fn zone_egress(&self, set: &mut ResourceSet, faults: &mut Vec<PolicyFault>) {
        let listeners = zone_listeners(&self.entry.spec, ListenerType::ZoneEgress);
        let Some(identity) = self.identity.as_ref().filter(|_| !listeners.is_empty()) else { return };
        let mut services = Vec::new();
        for destination in self.view.destinations() {
            let Details::External(spec) = &destination.details else { continue };
            let Some(resource) = self.view.resource(&destination.key) else { continue };
            match external_destination(resource, spec, |name| self.view.secret(name).map(<[u8]>::to_vec)) {
                Ok(service) => services.push(service),
                Err(error) => {
                    faults.push(PolicyFault { key: destination.key.clone(), message: error.to_string() });
                }
            }
        }
        let traits = EgressTraits {
            identity,
            internal: self.internal(),
            reuse_port: self.has(Feature::ReusePort),
            ipv6: self.entry.spec.address().contains(':'),
            system_ca_path: &self.inputs.metadata.system_ca_path,
        };
        for listener in &listeners {
            let (egress, refused) = zone_egress::generate(listener, &traits, &services);
            set.append(egress);
            for (kri, error) in refused {
                let key = self.view.destination(&kri).map_or_else(
                    || Key::new(registry::MESH_EXTERNAL_SERVICE, self.view.mesh(), &kri.name),
                    |destination| destination.key.clone(),
                );
                faults.push(PolicyFault { key, message: error.to_string() });
            }
        }
    }
}
