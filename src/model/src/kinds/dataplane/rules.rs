//! Rules of Dataplane.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Dataplane, Gateway, Inbound, ListenerType, Networking, Outbound, ReachableBackendRef, ServiceProbe};
use crate::kinds::duration::ProtoDuration;
use crate::kinds::protocol::Protocol;
use crate::kinds::registered::SpecType;
use crate::kinds::rules::MUST_BE_DEFINED;
use crate::labels;
use crate::names::{check_name, is_dns_name, is_ip, is_unspecified};
use crate::violation::Violations;

const PORT_RANGE: &str = "port must be in the range [1, 65535]";
const NO_IP: &str = "address has to be valid IP address";
const POSITIVE: &str = "must have a positive value";
const REF_KINDS: &[&str] = &["MeshExternalService", "MeshMultiZoneService", "MeshService"];
const BAD_REF_KIND: &str = "invalid value. Available values are: MeshExternalService,MeshMultiZoneService,MeshService";

impl SpecType for Dataplane {
    fn check(&self, faults: &mut Violations) {
        match &self.networking {
            None => faults.add("networking", MUST_BE_DEFINED),
            Some(networking) => faults.nest("networking", networking.faults()),
        }
    }
}

fn is_port(port: u32) -> bool {
    (1..=65535).contains(&port)
}

fn port(faults: &mut Violations, path: &str, port: u32) {
    if !is_port(port) {
        faults.add(path, PORT_RANGE);
    }
}

/// Whether two addresses meet: equal, or one of them means all.
fn overlap(a: &str, b: &str) -> bool {
    match (a.parse::<IpAddr>(), b.parse::<IpAddr>()) {
        (Ok(a), Ok(b)) => a == b || a.is_unspecified() || b.is_unspecified(),
        _ => a == b,
    }
}

fn address_fault(address: &str) -> Option<&'static str> {
    if address.is_empty() {
        Some("address can't be empty")
    } else if is_unspecified(address) {
        Some("must not be 0.0.0.0 or ::")
    } else if !is_ip(address) && !is_dns_name(address) {
        Some("address has to be valid IP address or domain name")
    } else {
        None
    }
}

impl Networking {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if let Some(admin) = self.admin.filter(|admin| admin.port != 0) {
            faults.append(self.admin_faults(admin.port));
        }
        if let Some(gateway) = &self.gateway {
            if !self.inbound.is_empty() {
                faults.add("inbound", "inbound cannot be defined for delegated gateways");
            }
            if !self.listeners.is_empty() {
                faults.add("listeners", "listeners cannot be defined for delegated gateways");
            }
            faults.nest("gateway", gateway.faults());
        }
        if let Some(fault) = address_fault(&self.address) {
            faults.add("address", fault);
        }
        for (i, inbound) in self.inbound.iter().enumerate() {
            faults.nest(&format!("inbound[{i}]"), inbound.faults(&self.address));
        }
        for (i, outbound) in self.outbound.iter().enumerate() {
            faults.nest(&format!("outbound[{i}]"), outbound.faults());
        }
        let reachable = self.transparent_proxying.as_ref().and_then(|proxying| proxying.reachable_backends.as_ref());
        for (i, backend) in reachable.iter().flat_map(|backends| &backends.refs).enumerate() {
            // The reference spells the field without its "y".
            faults.nest(&format!("transparentProxing.reachableBackends.refs[{i}]"), backend.faults());
        }
        faults.append(self.listener_faults());
        faults
    }

    /// The admin port stands on loopback, where workloads and outbounds may stand too.
    fn admin_faults(&self, admin_port: u32) -> Violations {
        const LOOPBACK: &str = "127.0.0.1";
        let mut faults = Violations::new();
        let is_taken = |inbound: &Inbound| {
            let workload = inbound.workload_port() == admin_port && overlap(self.workload_address(inbound), LOOPBACK);
            workload || (inbound.port == admin_port && overlap(self.inbound_address(inbound), LOOPBACK))
        };
        if self.inbound.iter().any(is_taken) {
            faults.add("admin.port", "must differ from inbound");
        }
        let is_outbound =
            |outbound: &Outbound| outbound.port == admin_port && overlap(outbound.listen_address(), LOOPBACK);
        if self.outbound.iter().any(is_outbound) {
            faults.add("admin.port", "must differ from outbound");
        }
        faults
    }

    fn listener_faults(&self) -> Violations {
        let mut faults = Violations::new();
        let mut names: BTreeSet<String> = self.inbound.iter().map(Inbound::section_name).collect();
        let inbounds: BTreeSet<_> =
            self.inbound.iter().map(|inbound| (self.inbound_address(inbound), inbound.port)).collect();
        let mut listeners: BTreeMap<(&str, u32), ListenerType> = BTreeMap::new();
        for (i, listener) in self.listeners.iter().enumerate() {
            let path = format!("listeners[{i}]");
            if listener.kind == ListenerType::Unspecified {
                faults.add(format!("{path}.type"), "type must be ZoneIngress or ZoneEgress");
            }
            if let Some(fault) = address_fault(&listener.address) {
                faults.add(format!("{path}.address"), fault);
            }
            port(&mut faults, &format!("{path}.port"), listener.port);
            if !listener.name.is_empty() && !names.insert(listener.name.clone()) {
                let message = format!("name {:?} must be unique across inbounds and listeners", listener.name);
                faults.add(format!("{path}.name"), message);
            }
            let endpoint = (listener.address.as_str(), listener.port);
            let shown = format!("address:port {}:{}", endpoint.0, endpoint.1);
            match listeners.get(&endpoint) {
                Some(kind) if *kind == listener.kind => {
                    faults.add(path.as_str(), format!("{shown} is already used by another listener"));
                }
                Some(_) => faults.add(path.as_str(), format!("{shown} is used by listeners of different types")),
                None => {
                    listeners.insert(endpoint, listener.kind);
                }
            }
            if inbounds.contains(&endpoint) {
                faults.add(path.as_str(), format!("{shown} collides with an inbound listener"));
            }
        }
        faults
    }
}

impl Inbound {
    fn faults(&self, dataplane_address: &str) -> Violations {
        let mut faults = Violations::new();
        port(&mut faults, "port", self.port);
        if self.service_port != 0 {
            port(&mut faults, "servicePort", self.service_port);
        }
        if !self.service_address.is_empty() {
            if !is_ip(&self.service_address) {
                faults.add("serviceAddress", "serviceAddress has to be valid IP address");
            }
            let same_address = self.service_address == dataplane_address || self.service_address == self.address;
            if same_address && self.workload_port() == self.port {
                faults.add("serviceAddress", "serviceAddress and servicePort has to differ from address and port");
            }
        }
        if !self.address.is_empty() && !is_ip(&self.address) {
            faults.add("address", NO_IP);
        }
        if !self.protocol.is_empty() && self.parsed_protocol() == Protocol::Unknown {
            let message = format!("has an invalid value {:?}. Allowed values: grpc, http, http2, tcp", self.protocol);
            faults.add("protocol", message);
        }
        if let Some(probe) = &self.service_probe {
            faults.nest("serviceProbe", probe.faults());
        }
        faults
    }
}

impl ServiceProbe {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        let zero = Some(ProtoDuration { nanos: 0 });
        for (path, is_zero) in [
            ("interval", self.interval == zero),
            ("timeout", self.timeout == zero),
            ("unhealthyThreshold", self.unhealthy_threshold == Some(0)),
            ("healthyThreshold", self.healthy_threshold == Some(0)),
        ] {
            if is_zero {
                faults.add(path, POSITIVE);
            }
        }
        faults
    }
}

impl Outbound {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        port(&mut faults, "port", self.port);
        if !self.address.is_empty() && !is_ip(&self.address) {
            faults.add("address", NO_IP);
        }
        let Some(backend) = &self.backend_ref else {
            faults.add("backendRef", MUST_BE_DEFINED);
            return faults;
        };
        if !REF_KINDS.contains(&backend.kind.as_str()) {
            faults.add("backendRef.kind", BAD_REF_KIND);
        }
        if backend.name.is_empty() && backend.labels.is_empty() {
            faults.add("backendRef", "either 'name' or 'labels' should be specified");
        }
        if backend.kind != "MeshExternalService" {
            port(&mut faults, "backendRef.port", backend.port);
        }
        faults
    }
}

impl ReachableBackendRef {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        let Self { kind, name, namespace, labels, .. } = self;
        if !REF_KINDS.contains(&kind.as_str()) {
            faults.add("kind", BAD_REF_KIND);
        }
        if !name.is_empty() {
            faults.append(check_name(name));
        }
        if name.is_empty() && namespace.is_empty() && labels.is_empty() {
            faults.add("name", "name or labels are required");
        }
        if name.is_empty() && !namespace.is_empty() {
            faults.add("name", "name is required, when namespace is defined");
        }
        let is_named = !name.is_empty() || !namespace.is_empty();
        if is_named && !labels.is_empty() {
            faults.add("labels", "labels cannot be defined when name is specified");
        }
        faults
    }
}

impl Gateway {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        let all = |text: &str, extra: &[u8]| text.bytes().all(|b| b.is_ascii_alphanumeric() || extra.contains(&b));
        for (key, value) in &self.tags {
            let path = format!("tags[{key:?}]");
            if key.is_empty() {
                faults.add("tags", "tag name must be non-empty");
            } else if !all(key, b".-_:/") {
                let message = "tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores";
                faults.add(path.as_str(), message);
            }
            if value.is_empty() {
                faults.add(path, "tag value must be non-empty");
            } else if !all(value, b".-_:") {
                faults.add(path, "tag value must consist of alphanumeric characters, dots, dashes and underscores");
            }
        }
        // The control plane itself adds the zone to gateways without tags.
        let has_own_tags = self.tags.keys().any(|key| key != labels::ZONE);
        if has_own_tags && !self.tags.contains_key(labels::SERVICE_TAG) {
            faults.add("tags", format!("mandatory tag {:?} is missing", labels::SERVICE_TAG));
        }
        if let Some(protocol) = self.tags.get(labels::PROTOCOL_TAG).filter(|protocol| *protocol != "tcp") {
            faults.add(
                format!("tags[{:?}]", labels::PROTOCOL_TAG),
                format!("other values than tcp are not allowed, provided value {protocol:?}"),
            );
        }
        faults
    }
}
