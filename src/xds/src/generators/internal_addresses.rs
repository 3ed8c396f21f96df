//! Which source addresses count as internal for HTTP connection managers.

use crate::envoy::core::CidrRange;
use crate::envoy::{UInt32Value, hcm};

/// One range of addresses, as Envoy writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InternalRange {
    /// First address of the range.
    pub address: String,
    /// Length of the prefix in bits.
    pub prefix_len: u32,
}

/// The ranges of internal addresses (`ipam.knownInternalCIDRs`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InternalAddresses(Vec<InternalRange>);

impl InternalAddresses {
    /// These ranges; when there is none, the loopback addresses.
    pub fn new(ranges: Vec<InternalRange>) -> Self {
        if ranges.is_empty() { Self::loopback() } else { Self(ranges) }
    }

    /// The loopback addresses alone.
    pub fn loopback() -> Self {
        Self::parse(&["127.0.0.1/32", "::1/128"])
    }

    /// Reads `address/length` texts; a text that is no range is dropped.
    pub fn parse<S: AsRef<str>>(ranges: &[S]) -> Self {
        let range = |text: &S| {
            let net: ipnet::IpNet = text.as_ref().parse().ok()?;
            Some(InternalRange { address: net.addr().to_string(), prefix_len: u32::from(net.prefix_len()) })
        };
        Self::new(ranges.iter().filter_map(range).collect())
    }

    /// The ranges that a proxy can use: without IPv6 ones where it has no IPv6.
    #[must_use]
    pub fn for_proxy(&self, ipv6: bool) -> Self {
        Self(self.0.iter().filter(|range| ipv6 || !range.address.contains(':')).cloned().collect())
    }

    /// As Envoy's message.
    pub fn to_message(&self) -> hcm::http_connection_manager::InternalAddressConfig {
        let range = |range: &InternalRange| CidrRange {
            address_prefix: range.address.clone(),
            prefix_len: Some(UInt32Value { value: range.prefix_len }),
        };
        hcm::http_connection_manager::InternalAddressConfig {
            unix_sockets: false,
            cidr_ranges: self.0.iter().map(range).collect(),
        }
    }
}

impl Default for InternalAddresses {
    /// The private ranges of RFC 1918 and RFC 4193, and loopback.
    fn default() -> Self {
        Self::parse(&[
            "10.0.0.0/8",
            "192.168.0.0/16",
            "172.16.0.0/12",
            "fc00::/7",
            "fd00::/8",
            "127.0.0.1/32",
            "::1/128",
        ])
    }
}
