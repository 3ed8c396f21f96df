//! Wires between replicas that can be cut in one direction.
//!
//! A replica advertises the address of its wire, so all others reach it through that. Who calls is
//! found out by the process that owns the other end of the connection; that needs no root.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use sandbox::Place;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long a caller may take to be found among the processes.
const LOOK_PAUSE: Duration = Duration::from_millis(5);
const LOOKS: u32 = 100;

/// What the wires know. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switchboard {
    /// From, to: nothing passes, and nothing is lost either; it waits, as TCP makes it wait.
    cut: watch::Sender<BTreeSet<(Place, Place)>>,
    /// The process of each replica that runs.
    processes: watch::Sender<BTreeMap<Place, u32>>,
}

impl Switchboard {
    /// Lets nothing pass from one replica to another.
    pub(crate) fn cut(&self, from: Place, to: Place) {
        self.cut.send_modify(|cut| {
            cut.insert((from, to));
        });
    }

    pub(crate) fn heal(&self) {
        self.cut.send_modify(BTreeSet::clear);
    }

    /// Tells which process a replica is.
    pub(crate) fn runs(&self, place: Place, process: Option<u32>) {
        self.processes.send_modify(|processes| match process {
            Some(process) => drop(processes.insert(place, process)),
            None => drop(processes.remove(&place)),
        });
    }

    /// Waits while nothing passes.
    async fn passes(&self, from: Place, to: Place) {
        let mut cut = self.cut.subscribe();
        // The sender lives as long as this.
        drop(cut.wait_for(|cut| !cut.contains(&(from, to))).await);
    }

    /// The replica whose process owns a connection of this machine; `None` for anybody else.
    fn owner(&self, from: SocketAddr, to: u16) -> Option<Place> {
        let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
        let socket = format!("socket:[{}]", socket_inode(&table, from.port(), to)?);
        let processes = self.processes.borrow().clone();
        processes.into_iter().find(|(_, process)| owns(*process, &socket)).map(|(place, _)| place)
    }

    /// Opens a wire to the port of a replica; the port to advertise instead.
    pub(crate) async fn wire(&self, port: u16, to: Place) -> Result<u16> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port")?;
        let advertised = listener.local_addr().context("no address")?.port();
        let board = self.clone();
        tokio::spawn(async move {
            while let Ok((caller, address)) = listener.accept().await {
                let board = board.clone();
                tokio::spawn(async move {
                    // Only replicas call. One that is not known in time calls again.
                    let Some(from) = board.caller(address, advertised).await else { return };
                    board.passes(from, to).await;
                    let Ok(callee) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
                    board.join(caller, callee, from, to).await;
                });
            }
        });
        Ok(advertised)
    }

    /// Who calls. A replica that was started just now may not be known yet.
    async fn caller(&self, address: SocketAddr, to: u16) -> Option<Place> {
        for _ in 0..LOOKS {
            if let Some(place) = self.owner(address, to) {
                return Some(place);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        None
    }

    async fn join(&self, caller: TcpStream, callee: TcpStream, from: Place, to: Place) {
        caller.set_nodelay(true).ok();
        callee.set_nodelay(true).ok();
        let ((caller_in, caller_out), (callee_in, callee_out)) = (caller.into_split(), callee.into_split());
        // When one direction ends, so does the connection.
        tokio::select! {
            () = pump(caller_in, callee_out, || self.passes(from, to)) => {}
            () = pump(callee_in, caller_out, || self.passes(to, from)) => {}
        }
    }
}

/// Passes bytes on, each time `may` has resolved.
async fn pump<F: Future<Output = ()>>(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, may: impl Fn() -> F) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        may().await;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// The inode of the socket that is connected from one port of loopback to another. One that is closed
/// may have had the same port, to somewhere else.
fn socket_inode(table: &str, from: u16, to: u16) -> Option<&str> {
    let [from, to] = [from, to].map(|port| format!("0100007F:{port:04X}"));
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.into_iter().find_map(|row| match row[..] {
        [_, local, remote, _, _, _, _, _, _, inode, ..] if local == from && remote == to => Some(inode),
        _ => None,
    })
}

/// Whether a process has a socket open.
fn owns(process: u32, socket: &str) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    open.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = caller.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        port
    }

    /// This process is replica 0, the other end of the wire is replica 1.
    #[tokio::test]
    async fn a_cut_wire_holds_back_one_direction_and_loses_nothing() {
        for (from, to) in [(0, 1), (1, 0)] {
            let board = Switchboard::default();
            board.runs(0, Some(std::process::id()));
            let port = board.wire(echo().await, 1).await.unwrap();
            let mut caller = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            let mut answer = [0; 5];
            caller.write_all(b"hello").await.unwrap();
            caller.read_exact(&mut answer).await.unwrap();
            board.cut(from, to);
            caller.write_all(b"again").await.unwrap();
            let early = tokio::time::timeout(Duration::from_millis(100), caller.read_exact(&mut answer)).await;
            assert!(early.is_err(), "{from} to {to} was cut");
            board.heal();
            caller.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"again");
        }
    }

    #[test]
    fn a_caller_is_found_among_sockets_that_had_its_port() {
        let table = "sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode\n\
                     0: 0100007F:9C40 0100007F:1631 06 0:0 03:0 0 0 0 0 3 0\n\
                     1: 0100007F:1632 0100007F:9C40 01 0:0 00:0 0 0 0 8 1 0\n\
                     2: 0100007F:9C40 0100007F:1632 01 0:0 00:0 0 0 0 7 1 0\n";
        assert_eq!(socket_inode(table, 40000, 5682), Some("7"));
        assert_eq!(socket_inode(table, 40001, 5682), None);
    }

    #[tokio::test]
    async fn a_wire_that_concerns_others_stays() {
        let board = Switchboard::default();
        board.runs(0, Some(std::process::id()));
        let port = board.wire(echo().await, 1).await.unwrap();
        board.cut(2, 1);
        let mut caller = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        caller.write_all(b"hello").await.unwrap();
        caller.read_exact(&mut [0; 5]).await.unwrap();
    }
}
