//! What is left out of redirection: users, addresses; and networks that are taken in.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};

use super::config::{Config, Direction};

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// Ports of a protocol that some users may reach directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UidExclusion {
    /// `tcp` or `udp`.
    pub(super) protocol: &'static str,
    /// As iptables writes lists of ports.
    pub(super) ports: String,
    /// One user, or a range.
    pub(super) uids: String,
}

/// Reads `[protocols:][ports:]uids`.
///
/// # Errors
/// What of it cannot be used.
pub(super) fn uid_exclusion(text: &str) -> Result<Vec<UidExclusion>> {
    let parts: Vec<&str> = text.split(':').collect();
    let (protocols, ports, uids) = match parts.as_slice() {
        [uids] => ("", "", *uids),
        [ports, uids] => ("", *ports, *uids),
        [protocols, ports, uids] => (*protocols, *ports, *uids),
        _ => {
            bail!("invalid format for excluding ports by UIDs: '{text}'. Expected format: <protocol:>?<ports:>?<uids>")
        }
    };
    if uids == "*" {
        bail!("wildcard '*' is not allowed for UIDs");
    }
    if uids.contains(',') {
        bail!("invalid UID entry: '{uids}'. It should either be a single item or a range");
    }
    let uids = range::<u32>(uids).with_context(|| format!("invalid UID range: {uids}"))?;
    let ports = match ports {
        "" | "*" => "1:65535".to_owned(),
        listed => {
            let ranges = listed.split(',').map(|part| range::<u16>(part).context("invalid port range"));
            ranges.collect::<Result<Vec<_>>>()?.join(",")
        }
    };
    let wanted = match protocols {
        "" | "*" => vec!["tcp", "udp"],
        listed => listed.split(',').map(protocol).collect::<Result<Vec<_>>>()?,
    };
    let kept = ["tcp", "udp"].into_iter().filter(|protocol| wanted.contains(protocol));
    Ok(kept.map(|protocol| UidExclusion { protocol, ports: ports.clone(), uids: uids.clone() }).collect())
}

fn protocol(text: &str) -> Result<&'static str> {
    match text {
        "tcp" => Ok("tcp"),
        "udp" => Ok("udp"),
        other => bail!("invalid or unsupported protocol: '{other}'"),
    }
}

/// One number, or two with a dash between, as iptables writes them.
fn range<T: std::str::FromStr + std::fmt::Display>(text: &str) -> Result<String> {
    let number = |part: &str| {
        part.trim().parse::<T>().ok().with_context(|| format!("validation failed for value or range '{text}'"))
    };
    Ok(match text.split_once('-') {
        Some((from, to)) => format!("{}:{}", number(from)?, number(to)?),
        None => number(text)?.to_string(),
    })
}

/// The users that a direction leaves out.
///
/// # Errors
/// The first entry that cannot be used.
pub(super) fn uid_exclusions(direction: &Direction) -> Result<Vec<UidExclusion>> {
    let texts = direction.exclude_ports_for_uids.iter().map(|entry| entry.to_string().trim_matches('"').to_owned());
    let exclusions = texts.map(|text| uid_exclusion(&text)).collect::<Result<Vec<_>>>()?;
    Ok(exclusions.into_iter().flatten().collect())
}

/// The addresses of a family that a direction leaves out.
///
/// # Errors
/// The first entry that is none.
pub(super) fn excluded_ips(direction: &Direction, family: Family) -> Result<Vec<String>> {
    let texts = direction.exclude_ports_for_ips.iter().flat_map(|entry| entry.split(',')).map(str::trim);
    let mut found = Vec::new();
    for text in texts.filter(|text| !text.is_empty()) {
        let address = text.split_once('/').map_or(text, |(address, _)| address);
        let ip: IpAddr = address.parse().ok().with_context(|| {
            format!("invalid exclusion rule: invalid IP address: '{text}'. Expected format: <ip> or <ip>/<prefix>")
        })?;
        if Family::of(ip) == family {
            found.push(text.to_owned());
        }
    }
    Ok(found)
}

/// A network behind an interface of this machine, whose traffic is redirected as well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VirtualNetwork {
    pub(super) interface: String,
    pub(super) cidr: String,
}

/// The networks of a family, by interface.
///
/// # Errors
/// The first entry that is none.
pub(super) fn virtual_networks(config: &Config, family: Family) -> Result<Vec<VirtualNetwork>> {
    let mut found = Vec::new();
    for text in &config.redirect.vnet.networks {
        let (interface, cidr) =
            text.split_once(':').with_context(|| format!("invalid virtual network definition: {text}"))?;
        let ip = cidr.split_once('/').and_then(|(address, _)| address.parse::<IpAddr>().ok());
        let ip = ip.with_context(|| format!("invalid CIDR definition for {text}"))?;
        if Family::of(ip) == family {
            found.push(VirtualNetwork { interface: interface.to_owned(), cidr: cidr.to_owned() });
        }
    }
    found.sort();
    Ok(found)
}
