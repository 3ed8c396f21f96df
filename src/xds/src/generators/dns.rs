//! Names of the proxy's destinations, for the DNS server of kuma-dp.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;

use super::dynamic_config::{self, Place};
use crate::resource_set::ResourceSet;

/// How long a client may keep an answer, in seconds.
const TTL_S: u32 = 30;

/// The labels of its Dataplane that a proxy's document shows.
pub const LABELS: [&str; 3] = ["kuma.io/zone", "kuma.io/workload", "k8s.kuma.io/namespace"];

/// A virtual address and its names.
#[derive(Clone, Copy, Debug)]
pub struct VipDomains<'a> {
    /// The virtual address.
    pub address: &'a str,
    /// Its names.
    pub domains: &'a [String],
}

/// What the generator needs to know of the proxy.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// Mesh of the proxy.
    pub mesh: &'a str,
    /// Labels of its Dataplane.
    pub labels: &'a BTreeMap<String, String>,
    /// Addresses of its outbounds: other names are not its business.
    pub outbound_addresses: &'a BTreeSet<&'a str>,
    /// Whether names also get their IPv4-mapped IPv6 address.
    pub ipv6_mapped: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    records: Vec<Record<'a>>,
    ttl: u32,
    #[serde(rename = "extraLabels")]
    extra_labels: ExtraLabels<'a>,
}

#[derive(Serialize)]
struct Record<'a> {
    name: &'a str,
    ips: Vec<String>,
}

#[derive(Serialize)]
struct ExtraLabels<'a> {
    mesh: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kuma_io_zone: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kuma_workload: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    k8s_kuma_io_namespace: &'a str,
}

/// Adds the records to the proxy's dynamic configuration. Of a name that is claimed twice the later
/// claim holds.
pub fn generate<'a>(
    set: &mut ResourceSet,
    place: Place<'_>,
    inputs: &Inputs<'_>,
    vips: impl IntoIterator<Item = VipDomains<'a>>,
) {
    let mut records: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for vip in vips.into_iter().filter(|vip| inputs.outbound_addresses.contains(vip.address)) {
        for domain in vip.domains {
            records.insert(domain, addresses(vip.address, inputs.ipv6_mapped));
        }
    }
    let [zone, workload, namespace] = LABELS.map(|label| inputs.labels.get(label).map_or("", String::as_str));
    let document = Document {
        records: records.into_iter().map(|(name, ips)| Record { name, ips }).collect(),
        ttl: TTL_S,
        extra_labels: ExtraLabels {
            mesh: inputs.mesh,
            kuma_io_zone: zone,
            kuma_workload: workload,
            k8s_kuma_io_namespace: namespace,
        },
    };
    if let Ok(body) = serde_json::to_string(&document) {
        dynamic_config::add(set, place, "dns", body);
    }
}

fn addresses(vip: &str, ipv6_mapped: bool) -> Vec<String> {
    let mapped = match vip.parse() {
        Ok(IpAddr::V4(v4)) if ipv6_mapped => Some(mapped(v4)),
        Ok(IpAddr::V4(_) | IpAddr::V6(_)) | Err(_) => None,
    };
    std::iter::once(vip.to_owned()).chain(mapped).collect()
}

/// The IPv4-mapped form in hexadecimal, which resolvers read where they do not read the dotted one.
fn mapped(v4: Ipv4Addr) -> String {
    let [a, b, c, d] = v4.octets();
    format!("::ffff:{:x}:{:x}", u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}
