//! The transparent-proxy configuration of a proxy, as `kuma-dp` reports it.

use std::net::Ipv4Addr;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Which address families are redirected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IpFamilyMode {
    /// Both families.
    #[default]
    DualStack,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only: may stand in a Dataplane, never in a `kuma-dp` configuration.
    Ipv6,
    /// Not said; treated as both.
    Unspecified,
}

impl<'de> Deserialize<'de> for IpFamilyMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("unknown ipFamilyMode {text:?}")))
    }
}

impl IpFamilyMode {
    /// The mode with this name, in any case; the empty name is the default.
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "" | "dualstack" => Some(Self::DualStack),
            "ipv4" => Some(Self::Ipv4),
            "ipv6" => Some(Self::Ipv6),
            "unspecified" => Some(Self::Unspecified),
            _ => None,
        }
    }
}

/// One redirection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RedirectPort {
    /// Whether traffic is redirected.
    #[serde(deserialize_with = "flag")]
    pub enabled: bool,
    /// To which port of the proxy.
    #[serde(deserialize_with = "port")]
    pub port: u16,
}

impl RedirectPort {
    /// Redirection to `port`, off when it is 0.
    pub const fn to(port: u16) -> Self {
        Self { enabled: port > 0, port }
    }
}

/// Virtual networks (Docker, VMs) whose DNS traffic is redirected too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vnet {
    /// `interface:CIDR` each.
    #[serde(deserialize_with = "nullable")]
    pub networks: Vec<String>,
}

/// All redirections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Redirect {
    /// Traffic that arrives.
    #[serde(deserialize_with = "nullable")]
    pub inbound: RedirectPort,
    /// Traffic that leaves.
    #[serde(deserialize_with = "nullable")]
    pub outbound: RedirectPort,
    /// DNS queries.
    #[serde(deserialize_with = "nullable")]
    pub dns: RedirectPort,
    /// Virtual networks.
    #[serde(deserialize_with = "nullable")]
    pub vnet: Vnet,
}

/// The part of the transparent-proxy configuration that the control plane uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TransparentProxyConfig {
    /// Address families.
    #[serde(deserialize_with = "nullable")]
    pub ip_family_mode: IpFamilyMode,
    /// Redirections.
    #[serde(deserialize_with = "nullable")]
    pub redirect: Redirect,
}

impl TransparentProxyConfig {
    /// What holds when the proxy announces the feature without a configuration.
    pub fn builtin() -> Self {
        Self {
            ip_family_mode: IpFamilyMode::DualStack,
            redirect: Redirect {
                inbound: RedirectPort::to(15006),
                outbound: RedirectPort::to(15001),
                dns: RedirectPort { enabled: false, port: 15053 },
                vnet: Vnet::default(),
            },
        }
    }

    /// Whether traffic is redirected at all, for a proxy with this `networking.address`: an
    /// IPv4-only redirection cannot serve an address of the other family.
    pub fn enabled(&self, address: &str) -> bool {
        (self.redirect.inbound.enabled || self.redirect.outbound.enabled)
            && (self.ip_family_mode != IpFamilyMode::Ipv4 || address.parse::<Ipv4Addr>().is_ok())
    }

    /// Whether IPv6 listeners are wanted; the address of the proxy does not matter.
    pub fn enabled_ipv6(&self) -> bool {
        self.ip_family_mode != IpFamilyMode::Ipv4
    }
}

/// `null` is the default, as in Go.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(flag),
        other => Err(serde::de::Error::custom(format!("expected a boolean, got {other}"))),
    }
}

/// A port: in a protobuf Struct every number is a double, and some writers use text.
fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = match &value {
        Value::Null => Some(0.0),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse::<u16>().ok().map(f64::from),
        _ => None,
    };
    match number {
        Some(n) if n.fract() == 0.0 && (0.0..=f64::from(u16::MAX)).contains(&n) => Ok(n as u16),
        _ => Err(serde::de::Error::custom(format!("expected a port, got {value}"))),
    }
}
