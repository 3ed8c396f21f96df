//! The connected proxies of a run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinHandle;

use crate::measure::SharedBoard;
use crate::plan::LIMIT;
use crate::proxy::{Identity, Memory, converse};
use crate::tls::Dialer;

/// Pause of a proxy before it connects again.
const PAUSE: Duration = Duration::from_millis(200);

/// Proxies that connect again whenever their streams end, until they are let go.
pub(crate) struct Fleet {
    pub(crate) board: SharedBoard,
    dialer: Dialer,
    proxies: Vec<JoinHandle<()>>,
}

impl Fleet {
    pub(crate) fn new(dialer: Dialer) -> Self {
        Self { board: SharedBoard::default(), dialer, proxies: Vec::new() }
    }

    /// Connects one more proxy.
    pub(crate) fn add(&mut self, identity: Identity) {
        self.proxies.push(tokio::spawn(live(self.dialer.clone(), identity, Arc::clone(&self.board))));
    }

    /// Ends the connection of the oldest proxy after the first `kept`.
    pub(crate) fn drop_one(&mut self, kept: usize) {
        if kept < self.proxies.len() {
            self.proxies.remove(kept).abort();
        }
    }

    /// How many proxies there are.
    pub(crate) fn len(&self) -> usize {
        self.proxies.len()
    }

    /// Waits until so many proxies have been configured completely since the beginning.
    pub(crate) async fn until_configured(&self, count: usize) -> Result<()> {
        self.board.until(&self.board.configured, count, LIMIT).await
    }

    /// Bytes that each proxy got since the board stood at `before`, on average.
    pub(crate) fn bytes_per_proxy_since(&self, before: u64) -> u64 {
        (self.board.bytes.load(Ordering::SeqCst) - before) / self.proxies.len().max(1) as u64
    }

    /// Ends all connections.
    pub(crate) async fn disconnect(&mut self) {
        for proxy in &self.proxies {
            proxy.abort();
        }
        for proxy in self.proxies.drain(..) {
            proxy.await.ok();
        }
    }
}

async fn live(dialer: Dialer, identity: Identity, board: SharedBoard) {
    let mut memory = Memory::default();
    loop {
        if let Err(error) = converse(&dialer, &identity, &mut memory, &board).await
            && std::env::var_os("LOAD_VERBOSE").is_some()
        {
            eprintln!("{}: {error:#}", identity.name);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
