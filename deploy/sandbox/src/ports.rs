//! Ports that nobody uses.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

/// The ports that this process gave away: a process that was told of one may not have bound it yet.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port of the loopback address that is free for TCP and UDP at this moment.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> Result<u16> {
    Ok(free_ports::<1>()?[0])
}

/// Distinct free ports. They are held until all are found, and none is given twice by one process.
///
/// # Errors
/// When the system has not enough of them.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        loop {
            let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("no free port")?;
            let found = tcp.local_addr().context("no free port")?.port();
            let is_free_for_udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, found)).is_ok();
            held.push(tcp);
            if is_free_for_udp && GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(found) {
                *port = found;
                break;
            }
        }
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_distinct_and_can_be_bound() {
        let ports = free_ports::<16>().unwrap();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 16);
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
