//! A port that leads to whichever control plane takes a connection, each in turn: what a load balancer
//! is to proxies.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A port behind which the next serves that takes a connection. Clones share it.
#[derive(Clone, Debug)]
pub struct Door {
    ports: watch::Sender<Vec<u16>>,
    port: u16,
}

impl Door {
    /// Opens a door without anybody behind it.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn open() -> Result<Self> {
        // `localhost` may be either address of loopback; the wildcard of IPv6 takes both.
        let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port")?,
        };
        let door = Self { ports: watch::Sender::default(), port: listener.local_addr().context("no address")?.port() };
        let (ports, turn) = (door.ports.clone(), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let (ports, turn) = (ports.borrow().clone(), Arc::clone(&turn));
                tokio::spawn(async move {
                    if let Some(mut callee) = anybody(&ports, &turn).await {
                        tokio::io::copy_bidirectional(&mut caller, &mut callee).await.ok();
                    }
                });
            }
        });
        Ok(door)
    }

    /// Its own port of loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The variables of a control plane behind it: proxies are told its port instead of that of one of them.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![("KUMA_BOOTSTRAP_SERVER_PARAMS_XDS_PORT", self.port.to_string())]
    }

    /// Who serves behind it from now on.
    pub fn lead_to(&self, ports: Vec<u16>) {
        self.ports.send_replace(ports);
    }
}

/// A connection to one of the ports, in turn.
async fn anybody(ports: &[u16], turn: &AtomicUsize) -> Option<TcpStream> {
    for _ in ports {
        let port = ports[turn.fetch_add(1, Ordering::Relaxed) % ports.len()];
        if let Ok(callee) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            return Some(callee);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Says the same byte to everybody.
    async fn says(what: u8) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                caller.write_all(&[what]).await.ok();
            }
        });
        port
    }

    #[tokio::test]
    async fn a_door_leads_in_turn_to_whoever_is_there() {
        let door = Door::open().await.unwrap();
        let gone = crate::free_port().unwrap();
        door.lead_to(vec![gone, says(1).await, says(2).await]);
        let mut heard = [0; 3];
        for _ in 0..6 {
            let mut caller = TcpStream::connect((Ipv4Addr::LOCALHOST, door.port())).await.unwrap();
            heard[usize::from(caller.read_u8().await.unwrap())] += 1;
        }
        assert_eq!(heard[0], 0);
        assert!(heard[1] >= 2 && heard[2] >= 2, "{heard:?}");
    }
}
