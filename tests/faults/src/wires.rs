//! What lies between the replicas, and can be cut.

use anyhow::{Context, Result};
use sandbox::{ControlPlane, Place};

use crate::namespaces::Namespaces;
use crate::relay::Switchboard;

/// A full disk shows as an error of the write, not as a signal.
const UNDER_LIMITS: [&str; 3] = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];

/// The wires of a group.
#[derive(Debug)]
pub(crate) enum Wires {
    /// Relays on loopback: what is cut is held back.
    Relays(Switchboard),
    /// A bridge between namespaces: what is cut is lost.
    Namespaces(Namespaces),
}

/// How a replica is started.
pub(crate) struct Plug {
    /// Where it listens for the others, and where they are told to reach it.
    pub(crate) addresses: [String; 2],
    /// The program, with its arguments, that starts it.
    pub(crate) by: Vec<String>,
}

impl Wires {
    /// Makes room for a replica, which listens on a port.
    pub(crate) async fn plug(&mut self, place: Place, port: u16) -> Result<Plug> {
        let limited = UNDER_LIMITS.map(str::to_owned);
        Ok(match self {
            Self::Relays(board) => {
                let advertised = board.wire(port, place).await?;
                Plug { addresses: [port, advertised].map(|port| format!("127.0.0.1:{port}")), by: limited.to_vec() }
            }
            Self::Namespaces(namespaces) => {
                let by = namespaces.room(place)?.into_iter().chain(limited).collect();
                let own = format!("{}:{port}", Namespaces::address(place));
                Plug { addresses: [own.clone(), own], by }
            }
        })
    }

    /// A replica was started: its process is another one.
    pub(crate) async fn starts(&mut self, place: Place, control_plane: &mut ControlPlane) -> Result<()> {
        match self {
            Self::Relays(board) => board.runs(place, control_plane.process().id()),
            Self::Namespaces(namespaces) => {
                for port in control_plane.asked_ports() {
                    namespaces.open_gate(place, port).await?;
                }
                namespaces.connect(place, true)?;
            }
        }
        Ok(())
    }

    /// A replica is about to be killed. On a bridge nobody is told, as when the power of a machine is cut.
    pub(crate) fn ends(&self, place: Place) -> Result<()> {
        match self {
            Self::Relays(_) => Ok(()),
            Self::Namespaces(namespaces) => namespaces.connect(place, false),
        }
    }

    /// A replica is gone for ever.
    pub(crate) fn unplug(&mut self, place: Place) {
        match self {
            Self::Relays(board) => board.runs(place, None),
            Self::Namespaces(namespaces) => namespaces.remove(place),
        }
    }

    /// Nothing passes from one replica to another.
    pub(crate) fn cut(&self, from: Place, to: Place) -> Result<()> {
        match self {
            Self::Relays(board) => board.cut(from, to),
            Self::Namespaces(namespaces) => namespaces.cut(from, to).context("a wire cannot be cut")?,
        }
        Ok(())
    }

    /// Everything passes again.
    pub(crate) fn heal(&self) -> Result<()> {
        match self {
            Self::Relays(board) => board.heal(),
            Self::Namespaces(namespaces) => namespaces.heal().context("wires cannot be mended")?,
        }
        Ok(())
    }
}
