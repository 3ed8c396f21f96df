//! MeshPassthrough: which destinations outside the mesh are reached without an outbound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::registered::{SpecType, plain};
use super::rules::{is_port, one_of};
use super::target_ref::{self, TargetRef};
use super::text_enum::text_enum;
use crate::codec::Codec;
use crate::names::{is_dns_name, is_ip};
use crate::schema::{self, Schema};
use crate::violation::Violations;

/// Spec of a MeshPassthrough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshPassthrough {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// The conf.
    pub default: Conf,
}

text_enum! {
    /// Which destinations are reached.
    pub enum PassthroughMode {
        /// All.
        All = "All",
        /// Those that match.
        Matched = "Matched",
        /// None.
        None = "None",
    }
}

/// Which destinations are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conf {
    /// Which; absent means those that match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passthrough_mode: Option<PassthroughMode>,
    /// Destinations; policies add to one another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append_match: Option<Vec<PassthroughMatch>>,
}

text_enum! {
    /// What a destination is named by.
    pub enum PassthroughMatchType {
        /// A name, perhaps with `*.` before it.
        Domain = "Domain",
        /// An address.
        Ip = "IP",
        /// A range of addresses.
        Cidr = "CIDR",
    }
}

text_enum! {
    /// Protocols of destinations.
    pub enum PassthroughProtocol {
        /// Bytes.
        Tcp = "tcp",
        /// TLS, told apart by server name.
        Tls = "tls",
        /// gRPC.
        Grpc = "grpc",
        /// HTTP/1.
        Http = "http",
        /// HTTP/2.
        Http2 = "http2",
        /// MySQL.
        Mysql = "mysql",
    }
}

/// A destination outside the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassthroughMatch {
    /// What it is named by.
    #[serde(rename = "type")]
    pub kind: PassthroughMatchType,
    /// The name, address or range.
    pub value: String,
    /// The port; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// The protocol.
    #[serde(default = "tcp")]
    pub protocol: PassthroughProtocol,
}

fn tcp() -> PassthroughProtocol {
    PassthroughProtocol::Tcp
}

impl SpecType for MeshPassthrough {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let item = schema::object([
                ("type", schema::choice(PassthroughMatchType::TEXTS)),
                ("value", schema::string()),
                ("port", schema::int32()),
                ("protocol", schema::choice(PassthroughProtocol::TEXTS).default_to("tcp")),
            ]);
            let conf = schema::object([
                ("passthroughMode", schema::choice(PassthroughMode::TEXTS)),
                ("appendMatch", schema::array(item.required(&["type", "value"]))),
            ]);
            schema::object([("targetRef", target_ref::top_schema()), ("default", conf)])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        target_ref::check_top(faults, self.target_ref.as_ref(), false);
        let mut ports = Ports::default();
        for (i, item) in self.default.append_match.iter().flatten().enumerate() {
            let path = format!("spec.default.appendMatch[{i}]");
            faults.nest(&path, ports.faults(item));
            faults.nest(&path, item.faults());
        }
    }
}

/// What earlier items said of ports.
#[derive(Default)]
struct Ports<'a> {
    /// The protocols by which requests are routed, by port.
    routed: BTreeMap<u32, &'a PassthroughProtocol>,
    seen: BTreeSet<(u32, &'a PassthroughProtocol, &'a str)>,
}

impl<'a> Ports<'a> {
    /// One port cannot speak two of the protocols by which requests are routed; TLS and bytes may
    /// stand beside one of them.
    fn faults(&mut self, item: &'a PassthroughMatch) -> Violations {
        let mut faults = Violations::new();
        let protocol = &item.protocol;
        let Some(port) = item.port else {
            if *protocol == PassthroughProtocol::Mysql {
                faults.add("port", "port must be defined for Mysql protocol");
            }
            return faults;
        };
        if !is_port(port.into()) {
            faults.add("port", "port must be a valid (1-65535)");
            return faults;
        }
        if protocol.is_routed() {
            let first = self.routed.entry(port).or_insert(protocol);
            if *first != protocol {
                faults.add(
                    "port",
                    "using the same port in multiple matches requires the same protocol for the following protocols: [grpc http http2]",
                );
            }
        }
        if !self.seen.insert((port, protocol, &item.value)) {
            faults.add("value", format!("value {} is already defiend for this port and protocol", item.value));
        }
        faults
    }
}

impl PassthroughProtocol {
    /// Whether requests are routed.
    pub fn is_routed(&self) -> bool {
        matches!(self, Self::Grpc | Self::Http | Self::Http2)
    }
}

impl PassthroughMatch {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if !self.protocol.is_known() {
            faults.add("protocol", one_of("protocol", PassthroughProtocol::TEXTS));
        }
        match &self.kind {
            PassthroughMatchType::Cidr if self.value.parse::<IpNet>().is_err() => {
                faults.add("value", "provided CIDR has incorrect value");
            }
            PassthroughMatchType::Ip if !is_ip(&self.value) => faults.add("value", "provided IP has incorrect value"),
            PassthroughMatchType::Domain => faults.append(self.domain_faults()),
            PassthroughMatchType::Unknown(kind) => faults
                .add("type", format!("provided type {kind} is not supported, one of Domain, IP, or CIDR is supported")),
            PassthroughMatchType::Cidr | PassthroughMatchType::Ip => {}
        }
        faults
    }

    fn domain_faults(&self) -> Violations {
        let mut faults = Violations::new();
        let protocol = &self.protocol;
        if matches!(protocol, PassthroughProtocol::Tcp | PassthroughProtocol::Mysql) {
            faults.add("protocol", format!("protocol {protocol} is not supported for a domain"));
        }
        let is_wildcard = self.value.starts_with('*');
        if is_wildcard && !self.value.starts_with("*.") {
            faults.add("value", "provided DNS has incorrect value, partial wildcard is currently not supported");
        }
        if is_wildcard && self.port.is_none() && protocol.is_routed() {
            faults.add("port", "wildcard domains doesn't work for all ports and layer 7 protocol");
        }
        let name = self.value.strip_prefix("*.").unwrap_or(&self.value);
        if !is_dns_name(name) {
            faults.add("value", "provided DNS has incorrect value");
        }
        faults
    }
}

pub(crate) const CODEC: Codec = plain::<MeshPassthrough>();
