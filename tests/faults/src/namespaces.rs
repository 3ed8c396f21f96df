//! Each replica in a network namespace of its own, on one bridge. What is cut there is lost without a word,
//! as between machines: connections stay half open, and nobody hears of a replica that dies.
//!
//! Clients, proxies and the tester stay outside. A gate leads from each port of loopback that they ask to
//! the same port within.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};
use sandbox::Place;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a connection within a namespace may take: a process that is paused may have no room for it.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// The address of nobody.
const NOBODY: &str = "02:00:00:00:00:01";

/// Where connections are asked for, and whom they are given to.
type Connector = mpsc::Sender<(u16, oneshot::Sender<io::Result<TcpStream>>)>;

/// The namespaces of a group. They are gone with it.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// The one that holds the bridge; the others are called so, and a number.
    bridge: String,
    rooms: BTreeMap<Place, Room>,
}

/// The namespace of one replica.
#[derive(Debug)]
struct Room {
    name: String,
    /// Who connects within it: to a port of its loopback.
    connector: Connector,
    gates: BTreeSet<u16>,
    keepers: Vec<JoinHandle<()>>,
}

/// Whether replicas can have namespaces here.
///
/// # Errors
/// When they cannot; it says why.
pub fn possible() -> Result<()> {
    Namespaces::new().map(drop)
}

impl Namespaces {
    /// A bridge without replicas; `Err` is why there can be none here.
    pub(crate) fn new() -> Result<Self> {
        let bridge = format!("kuma-{:08x}", rand::random::<u32>());
        ip(&["netns", "add", &bridge]).context("network namespaces need root")?;
        let namespaces = Self { bridge, rooms: BTreeMap::new() };
        ip(&["-n", &namespaces.bridge, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &namespaces.bridge, "link", "set", "bridge", "up"])?;
        Ok(namespaces)
    }

    /// The address of a place.
    pub(crate) fn address(place: Place) -> String {
        format!("10.213.{}.{}", place / 250, place % 250 + 1)
    }

    /// Makes a namespace; the program, with its arguments, that starts another one in it.
    pub(crate) fn room(&mut self, place: Place) -> Result<Vec<String>> {
        let (name, wire) = (format!("{}-{place}", self.bridge), format!("wire-{place}"));
        ip(&["netns", "add", &name])?;
        self.rooms.insert(
            place,
            Room { connector: connector(&name)?, name: name.clone(), gates: BTreeSet::new(), keepers: Vec::new() },
        );
        let address = format!("{}/16", Self::address(place));
        ip(&["-n", &self.bridge, "link", "add", &wire, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        ip(&["-n", &self.bridge, "link", "set", &wire, "master", "bridge", "up"])?;
        ip(&["-n", &name, "addr", "add", &address, "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        Ok(["ip", "netns", "exec", &name].map(str::to_owned).to_vec())
    }

    /// Lets everybody outside reach a port of loopback within.
    pub(crate) async fn open_gate(&mut self, place: Place, port: u16) -> Result<()> {
        let room = self.rooms.get_mut(&place).context("there is no such namespace")?;
        if !room.gates.insert(port) {
            return Ok(());
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("a gate cannot be opened")?;
        let connector = room.connector.clone();
        room.keepers.push(tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let connector = connector.clone();
                tokio::spawn(async move {
                    if let Some(Ok(mut callee)) = connected(&connector, port).await {
                        tokio::io::copy_bidirectional(&mut caller, &mut callee).await.ok();
                    }
                });
            }
        }));
        Ok(())
    }

    /// Loses everything from one replica to another.
    pub(crate) fn cut(&self, from: Place, to: Place) -> Result<()> {
        let Some(room) = self.rooms.get(&from) else { bail!("there is no replica {from}") };
        ip(&["-n", &room.name, "neigh", "replace", &Self::address(to), "lladdr", NOBODY, "dev", "eth0"])
    }

    /// Loses nothing any more.
    pub(crate) fn heal(&self) -> Result<()> {
        self.rooms.values().try_for_each(|room| ip(&["-n", &room.name, "neigh", "flush", "dev", "eth0", "nud", "all"]))
    }

    /// Takes a replica off the network, or puts it there again.
    pub(crate) fn connect(&self, place: Place, is_in: bool) -> Result<()> {
        let Some(room) = self.rooms.get(&place) else { bail!("there is no replica {place}") };
        ip(&["-n", &room.name, "link", "set", "eth0", if is_in { "up" } else { "down" }])
    }

    /// Removes the namespace of a replica that is gone.
    pub(crate) fn remove(&mut self, place: Place) {
        self.rooms.remove(&place);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.keepers.iter().for_each(JoinHandle::abort);
        ip(&["netns", "del", &self.name]).ok();
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.rooms.clear();
        ip(&["netns", "del", &self.bridge]).ok();
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let done = Command::new("ip").args(arguments).output().context("there is no ip")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "ip {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

/// A thread that lives in a namespace and connects there. What it connects can be used anywhere.
fn connector(name: &str) -> Result<Connector> {
    let namespace = File::open(format!("/run/netns/{name}")).context("the namespace is not where ip puts it")?;
    let (wanted, wishes) = mpsc::channel::<(u16, oneshot::Sender<_>)>();
    std::thread::spawn(move || {
        let entered = setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
        for (port, answer) in wishes {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let connect = || TcpStream::connect_timeout(&address, CONNECT_MAX);
            let connected =
                entered.as_ref().map_err(|e| io::Error::new(e.kind(), e.to_string())).and_then(|()| connect());
            answer.send(connected).ok();
        }
    });
    Ok(wanted)
}

async fn connected(connector: &Connector, port: u16) -> Option<io::Result<tokio::net::TcpStream>> {
    let (answer, connected) = oneshot::channel();
    connector.send((port, answer)).ok()?;
    let stream = connected.await.ok()?;
    Some(stream.and_then(|stream| {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        tokio::net::TcpStream::from_std(stream)
    }))
}
