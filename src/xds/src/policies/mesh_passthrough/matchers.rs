//! The destinations of a MeshPassthrough, spread over the ports that are named anywhere, in the order
//! of their filter chains.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use model::kinds::mesh_passthrough::{PassthroughMatch, PassthroughMatchType, PassthroughProtocol};

use crate::generators::transparent_proxy::IpFamily;

/// What a connection is told apart by, least specific first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// The server name in TLS, any below a name.
    WildcardDomain(String),
    /// The server name in TLS.
    Domain(String),
    /// The host that a request names.
    Hosts,
    /// Its address, as a range.
    Cidr(IpNet, String),
    /// Its address.
    Ip(IpAddr, String),
}

/// A host that requests may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host(pub(super) String);

/// One filter chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Matcher {
    pub(super) protocol: PassthroughProtocol,
    /// The port; `None` for those that no other matcher names.
    pub(super) port: Option<u16>,
    pub(super) target: Target,
    /// The hosts, when they are the target.
    pub(super) hosts: Vec<Host>,
}

/// All filter chains, in order.
#[derive(Debug, Default)]
pub(super) struct Matchers {
    pub(super) list: Vec<Matcher>,
}

type Place = (Option<u16>, Target);

/// Matchers while they are gathered.
#[derive(Default)]
struct Gathered {
    list: BTreeMap<(u8, Place), (PassthroughProtocol, Vec<Host>)>,
    /// The protocol by which requests are routed, by port.
    routed: BTreeMap<Option<u16>, PassthroughProtocol>,
    refused: BTreeSet<u16>,
}

impl Matchers {
    /// Spreads `items`; also tells the ports on which a second protocol with requests was refused, 0
    /// for any port. The first one stated for a port stays in force.
    pub(super) fn of(items: &[PassthroughMatch]) -> (Self, BTreeSet<u16>) {
        let port_of = |item: &PassthroughMatch| item.port.and_then(|port| u16::try_from(port).ok()).filter(|p| *p > 0);
        let ports: BTreeSet<_> = items.iter().filter_map(port_of).collect();
        let read: Vec<_> = items.iter().filter_map(|item| Some((item, target(item)?))).collect();
        let mut gathered = Gathered::default();
        for (item, target) in &read {
            gathered.add(item, port_of(item), target.clone());
        }
        for (item, target) in read.iter().filter(|(item, _)| item.port.is_none()) {
            ports.iter().for_each(|port| gathered.add(item, Some(*port), target.clone()));
        }
        let matcher =
            |((_, (port, target)), (protocol, mut hosts)): ((u8, Place), (PassthroughProtocol, Vec<Host>))| {
                hosts.sort_by(Host::order);
                Matcher { protocol, port, target, hosts }
            };
        let mut list: Vec<_> = gathered.list.into_iter().map(matcher).collect();
        list.sort_by(Matcher::order);
        (Self { list }, gathered.refused)
    }

    /// Ports on which the server speaks first.
    pub(super) fn mysql_ports(&self) -> Vec<u16> {
        let mysql = self.list.iter().filter(|matcher| matcher.protocol == PassthroughProtocol::Mysql);
        mysql.filter_map(|matcher| matcher.port).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Gathered {
    fn add(&mut self, item: &PassthroughMatch, port: Option<u16>, target: Target) {
        let protocol = &item.protocol;
        if protocol.is_routed() && self.routed.entry(port).or_insert_with(|| protocol.clone()) != protocol {
            self.refused.insert(port.unwrap_or(0));
            return;
        }
        let key = (name_rank(protocol), (port, target));
        let is_hosts = key.1.1 == Target::Hosts;
        let (_, hosts) = self.list.entry(key).or_insert_with(|| (protocol.clone(), Vec::new()));
        let host = Host(item.value.clone());
        if is_hosts && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
}

impl Matcher {
    /// Whether connections to addresses of the family can match.
    pub(super) fn is_of(&self, family: IpFamily) -> bool {
        let is_ipv4 = match &self.target {
            Target::WildcardDomain(_) | Target::Domain(_) | Target::Hosts => return true,
            Target::Cidr(net, _) => net.addr().is_ipv4(),
            Target::Ip(ip, _) => ip.is_ipv4(),
        };
        is_ipv4 == (family == IpFamily::V4)
    }

    fn order(&self, other: &Self) -> Ordering {
        rank(&self.protocol)
            .cmp(&rank(&other.protocol))
            .then_with(|| other.target.rank().cmp(&self.target.rank()))
            .then_with(|| other.port.cmp(&self.port))
            .then_with(|| self.target.order(&other.target))
    }
}

impl Target {
    /// Addresses before ranges before names, and of each IPv6 before IPv4.
    fn rank(&self) -> u8 {
        match self {
            Self::WildcardDomain(_) => 1,
            Self::Domain(_) | Self::Hosts => 2,
            Self::Cidr(net, _) => 3 + u8::from(net.addr().is_ipv6()),
            Self::Ip(ip, _) => 5 + u8::from(ip.is_ipv6()),
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Domain(a), Self::Domain(b)) | (Self::WildcardDomain(a), Self::WildcardDomain(b)) => domains(a, b),
            (Self::Cidr(a, _), Self::Cidr(b, _)) => {
                b.prefix_len().cmp(&a.prefix_len()).then_with(|| b.network().cmp(&a.network()))
            }
            (Self::Ip(_, a), Self::Ip(_, b)) => b.cmp(a),
            _ => Ordering::Equal,
        }
    }
}

impl Host {
    /// Whether it stands for all names below.
    pub(super) fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    fn order(&self, other: &Self) -> Ordering {
        self.is_wildcard().cmp(&other.is_wildcard()).then_with(|| domains(&self.0, &other.0))
    }
}

fn target(item: &PassthroughMatch) -> Option<Target> {
    let value = item.value.clone();
    match &item.kind {
        PassthroughMatchType::Domain if item.protocol.is_routed() => Some(Target::Hosts),
        PassthroughMatchType::Domain if value.starts_with('*') => Some(Target::WildcardDomain(value)),
        PassthroughMatchType::Domain => Some(Target::Domain(value)),
        PassthroughMatchType::Ip => Some(Target::Ip(value.parse().ok()?, value)),
        PassthroughMatchType::Cidr => Some(Target::Cidr(value.parse().ok()?, value)),
        PassthroughMatchType::Unknown(_) => None,
    }
}

/// More labels first.
fn domains(a: &str, b: &str) -> Ordering {
    let labels = |domain: &str| domain.split('.').count();
    labels(b).cmp(&labels(a)).then_with(|| a.cmp(b))
}

/// Tells all protocols apart.
fn name_rank(protocol: &PassthroughProtocol) -> u8 {
    if *protocol == PassthroughProtocol::Mysql { u8::MAX } else { rank(protocol) }
}

fn rank(protocol: &PassthroughProtocol) -> u8 {
    match protocol {
        PassthroughProtocol::Tls | PassthroughProtocol::Mysql => 0,
        PassthroughProtocol::Tcp | PassthroughProtocol::Unknown(_) => 1,
        PassthroughProtocol::Http => 2,
        PassthroughProtocol::Http2 => 3,
        PassthroughProtocol::Grpc => 4,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matchers(items: serde_json::Value) -> (Vec<String>, BTreeSet<u16>) {
        let items: Vec<PassthroughMatch> = serde_json::from_value(items).unwrap();
        let (matchers, refused) = Matchers::of(&items);
        let shown = matchers.list.iter().map(|m| {
            let value = match &m.target {
                Target::WildcardDomain(v) | Target::Domain(v) | Target::Cidr(_, v) | Target::Ip(_, v) => v.clone(),
                Target::Hosts => m.hosts.iter().map(|host| &*host.0).collect::<Vec<_>>().join(","),
            };
            format!("{} {value} {}", m.protocol, m.port.unwrap_or(0))
        });
        (shown.collect(), refused)
    }

    #[test]
    fn a_match_of_any_port_is_repeated_for_each_that_is_named() {
        let (list, _) = matchers(json!([
            {"type": "Domain", "value": "a.test", "protocol": "http"},
            {"type": "Domain", "value": "b.test", "protocol": "http", "port": 80},
            {"type": "IP", "value": "10.0.0.1"},
        ]));
        assert_eq!(list, ["tcp 10.0.0.1 80", "tcp 10.0.0.1 0", "http a.test,b.test 80", "http a.test 0"]);
    }

    #[test]
    fn the_more_specific_stands_first() {
        let (list, _) = matchers(json!([
            {"type": "Domain", "value": "*.b.test", "protocol": "tls", "port": 443},
            {"type": "Domain", "value": "a.test", "protocol": "tls", "port": 443},
            {"type": "Domain", "value": "x.a.test", "protocol": "tls", "port": 443},
            {"type": "CIDR", "value": "10.0.0.0/8", "protocol": "tls", "port": 443},
            {"type": "CIDR", "value": "10.1.0.0/16", "protocol": "tls", "port": 443},
            {"type": "CIDR", "value": "fd00::/8", "protocol": "tls", "port": 443},
            {"type": "IP", "value": "10.0.0.1", "protocol": "tls", "port": 443},
            {"type": "IP", "value": "fd00::1", "protocol": "tls", "port": 443},
        ]));
        let values: Vec<_> = list.iter().map(|text| text.split(' ').nth(1).unwrap()).collect();
        let expected =
            ["fd00::1", "10.0.0.1", "fd00::/8", "10.1.0.0/16", "10.0.0.0/8", "x.a.test", "a.test", "*.b.test"];
        assert_eq!(values, expected);
    }

    #[test]
    fn a_second_protocol_with_requests_on_a_port_is_refused() {
        let (list, refused) = matchers(json!([
            {"type": "Domain", "value": "a.test", "protocol": "http"},
            {"type": "Domain", "value": "b.test", "protocol": "grpc", "port": 80},
        ]));
        assert_eq!(list, ["http a.test 0", "grpc b.test 80"]);
        assert_eq!(refused, [80].into());
    }
}
