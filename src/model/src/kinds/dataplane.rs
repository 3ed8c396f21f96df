//! Dataplane: one proxy, its inbounds, outbounds and listeners.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::duration::ProtoDuration;
use super::int_or_string::IntOrString;
use super::proto_json::{self, is_default, proto_enum};
use super::protocol::Protocol;
use super::registered::proto;
use crate::codec::Codec;

mod rules;

/// Spec of a Dataplane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dataplane {
    /// What it listens on and calls; required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networking: Option<Networking>,
}

impl Dataplane {
    /// Its own address; empty when there is none.
    pub fn address(&self) -> &str {
        self.networking.as_ref().map_or("", |networking| &networking.address)
    }

    /// Its inbounds.
    pub fn inbounds(&self) -> &[Inbound] {
        self.networking.as_ref().map_or(&[], |networking| &networking.inbound)
    }

    /// Its outbounds.
    pub fn outbounds(&self) -> &[Outbound] {
        self.networking.as_ref().map_or(&[], |networking| &networking.outbound)
    }

    /// Its zone proxy listeners.
    pub fn listeners(&self) -> &[Listener] {
        self.networking.as_ref().map_or(&[], |networking| &networking.listeners)
    }

    /// Whether another proxy stands in front of it, which does not belong to the mesh.
    pub fn is_delegated_gateway(&self) -> bool {
        self.networking.as_ref().is_some_and(|networking| networking.gateway.is_some())
    }

    /// Whether it has a listener of this type.
    pub fn has_listener(&self, kind: ListenerType) -> bool {
        self.listeners().iter().any(|listener| listener.kind == kind)
    }

    /// Whether it is a zone ingress or a zone egress.
    pub fn is_zone_proxy(&self) -> bool {
        !self.listeners().is_empty()
    }
}

/// What a proxy listens on and calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Networking {
    /// Ports of the workload.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inbound: Vec<Inbound>,
    /// Destinations with an address of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<Outbound>,
    /// Present on a delegated gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// Redirection of the workload's traffic.
    #[serde(alias = "transparent_proxying", skip_serializing_if = "Option::is_none")]
    pub transparent_proxying: Option<TransparentProxying>,
    /// Address of the proxy: an IP address or a name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Envoy's admin API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<EnvoyAdmin>,
    /// Listeners of a zone proxy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
}

impl Networking {
    /// The address on which an inbound is reached: its own or the proxy's.
    pub fn inbound_address<'a>(&'a self, inbound: &'a Inbound) -> &'a str {
        if inbound.address.is_empty() { &self.address } else { &inbound.address }
    }

    /// The address on which a listener is reached: its own or the proxy's.
    pub fn listener_address<'a>(&'a self, listener: &'a Listener) -> &'a str {
        if listener.address.is_empty() { &self.address } else { &listener.address }
    }

    /// The address on which the workload listens: the service address, else loopback without
    /// transparent proxying, else the address of the inbound.
    pub fn workload_address<'a>(&'a self, inbound: &'a Inbound) -> &'a str {
        if !inbound.service_address.is_empty() {
            &inbound.service_address
        } else if self.transparent_proxying.is_some() {
            self.inbound_address(inbound)
        } else {
            "127.0.0.1"
        }
    }
}

proto_enum! {
    /// Whether an inbound takes traffic.
    pub enum InboundState {
        /// It does.
        #[default]
        Ready = "Ready" 0,
        /// Its workload is not ready.
        NotReady = "NotReady" 1,
        /// It is left out of services.
        Ignored = "Ignored" 2,
    }
}

/// A port of the workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Inbound {
    /// Port of the proxy.
    #[serde(deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub port: u32,
    /// Port of the workload; 0 means the same.
    #[serde(alias = "service_port", deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub service_port: u32,
    /// Address of the inbound; empty means the proxy's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Address of the workload; empty means the default.
    #[serde(alias = "service_address", skip_serializing_if = "String::is_empty")]
    pub service_address: String,
    /// Health as reported by who manages the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<InboundHealth>,
    /// How the proxy checks the workload.
    #[serde(alias = "service_probe", skip_serializing_if = "Option::is_none")]
    pub service_probe: Option<ServiceProbe>,
    /// Whether it takes traffic.
    #[serde(skip_serializing_if = "is_default")]
    pub state: InboundState,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its protocol.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
}

impl Inbound {
    /// The name by which policies select it: its name, else its port.
    pub fn section_name(&self) -> String {
        if self.name.is_empty() { self.port.to_string() } else { self.name.clone() }
    }

    /// Whether `section` selects it.
    pub fn is_section(&self, section: &str) -> bool {
        if self.name.is_empty() { section == self.port.to_string() } else { section == self.name }
    }

    /// Port of the workload.
    pub fn workload_port(&self) -> u32 {
        if self.service_port == 0 { self.port } else { self.service_port }
    }

    /// Its protocol; unknown text and none at all are [`Protocol::Unknown`].
    pub fn parsed_protocol(&self) -> Protocol {
        Protocol::parse(&self.protocol)
    }

    /// Whether it takes traffic: its state is Ready and its health does not deny it.
    pub fn is_ready(&self) -> bool {
        self.state == InboundState::Ready && self.is_healthy()
    }

    /// Whether its health does not deny it.
    pub fn is_healthy(&self) -> bool {
        self.health.as_ref().is_none_or(|health| health.ready)
    }

    /// Whether a service's target port means it: a number its port, a text its name.
    pub fn is_target_port(&self, target: &IntOrString) -> bool {
        match target {
            IntOrString::Int(port) => u32::try_from(*port) == Ok(self.port),
            IntOrString::Text(name) => *name == self.name,
        }
    }
}

/// Health of an inbound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InboundHealth {
    /// Whether the workload is ready.
    #[serde(skip_serializing_if = "is_default")]
    pub ready: bool,
}

/// How the proxy checks the workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceProbe {
    /// Time between checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<ProtoDuration>,
    /// Time until a check has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<ProtoDuration>,
    /// Failures until it is unhealthy.
    #[serde(
        alias = "unhealthy_threshold",
        deserialize_with = "proto_json::u32_value",
        skip_serializing_if = "Option::is_none"
    )]
    pub unhealthy_threshold: Option<u32>,
    /// Successes until it is healthy.
    #[serde(
        alias = "healthy_threshold",
        deserialize_with = "proto_json::u32_value",
        skip_serializing_if = "Option::is_none"
    )]
    pub healthy_threshold: Option<u32>,
    /// Check by a TCP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpProbe>,
}

/// A check that opens a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpProbe {}

/// A destination with an address of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outbound {
    /// Address on which the workload reaches it; empty means loopback.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Port on which the workload reaches it.
    #[serde(deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub port: u32,
    /// The destination.
    #[serde(alias = "backend_ref", skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<OutboundRef>,
}

impl Outbound {
    /// Address on which the workload reaches it.
    pub fn listen_address(&self) -> &str {
        if self.address.is_empty() { "127.0.0.1" } else { &self.address }
    }
}

/// The destination of an outbound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutboundRef {
    /// Its kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its port.
    #[serde(deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub port: u32,
    /// Its labels, when it is not named.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

proto_enum! {
    /// Types of gateways.
    pub enum GatewayType {
        /// A proxy outside of the mesh.
        #[default]
        Delegated = "DELEGATED" 0,
    }
}

/// A gateway that is no part of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gateway {
    /// Its tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Its type.
    #[serde(rename = "type", skip_serializing_if = "is_default")]
    pub kind: GatewayType,
}

proto_enum! {
    /// Address families that are redirected.
    pub enum IpFamilyMode {
        /// Not said.
        #[default]
        UnSpecified = "UnSpecified" 0,
        /// IPv4 and IPv6.
        DualStack = "DualStack" 1,
        /// IPv4 only.
        IPv4 = "IPv4" 2,
        /// IPv6 only.
        IPv6 = "IPv6" 3,
    }
}

/// Redirection of the workload's traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TransparentProxying {
    /// Port to which inbound traffic is redirected.
    #[serde(alias = "redirect_port_inbound", deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub redirect_port_inbound: u32,
    /// Port to which outbound traffic is redirected.
    #[serde(
        alias = "redirect_port_outbound",
        deserialize_with = "proto_json::u32",
        skip_serializing_if = "is_default"
    )]
    pub redirect_port_outbound: u32,
    /// Services that are reached by the addresses of their proxies; `*` for all.
    #[serde(alias = "direct_access_services", skip_serializing_if = "Vec::is_empty")]
    pub direct_access_services: Vec<String>,
    /// Address families.
    #[serde(alias = "ip_family_mode", skip_serializing_if = "is_default")]
    pub ip_family_mode: IpFamilyMode,
    /// The only destinations that are configured; absent means all.
    #[serde(alias = "reachable_backends", skip_serializing_if = "Option::is_none")]
    pub reachable_backends: Option<ReachableBackends>,
}

/// The only destinations that are configured; none when empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReachableBackends {
    /// References to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<ReachableBackendRef>,
}

/// A reference to a reachable destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReachableBackendRef {
    /// Its kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its Kubernetes namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// One of its ports; absent means all.
    #[serde(deserialize_with = "proto_json::u32_value", skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// Its labels, when it is not named.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Envoy's admin API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvoyAdmin {
    /// Its port.
    #[serde(deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub port: u32,
}

proto_enum! {
    /// What a listener of a zone proxy does.
    pub enum ListenerType {
        /// Not said, which is an error.
        #[default]
        Unspecified = "Unspecified" 0,
        /// Takes traffic of other zones.
        ZoneIngress = "ZoneIngress" 1,
        /// Sends traffic to other zones and out of the mesh.
        ZoneEgress = "ZoneEgress" 2,
    }
}

proto_enum! {
    /// Whether a listener takes traffic.
    pub enum ListenerState {
        /// It does.
        #[default]
        Ready = "Ready" 0,
        /// It does not.
        NotReady = "NotReady" 1,
    }
}

/// A listener of a zone proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listener {
    /// What it does.
    #[serde(rename = "type", skip_serializing_if = "is_default")]
    pub kind: ListenerType,
    /// Its address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Its port.
    #[serde(deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub port: u32,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whether it takes traffic.
    #[serde(skip_serializing_if = "is_default")]
    pub state: ListenerState,
}

impl Listener {
    /// The name by which policies select it: its name, else its port.
    pub fn section_name(&self) -> String {
        if self.name.is_empty() { self.port.to_string() } else { self.name.clone() }
    }
}

pub(crate) const CODEC: Codec = proto::<Dataplane>();
