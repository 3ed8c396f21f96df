//! How far the newest snapshot on disk goes.
//!
//! openraft lets a follower cut its log as soon as it is given a snapshot, not when it has it. A crash in between
//! would leave neither the entries nor what covers them, so the log asks here before it forgets anything.

use std::io;

use tokio::sync::watch;

use crate::types::LogId;

/// Entries before this one are in a durable snapshot; `None` when the last one could not be kept.
type Next = Option<u64>;

fn next_of(last: Option<LogId>) -> u64 {
    last.map_or(0, |id| id.index + 1)
}

/// The state machine's side. Without it, those who wait are told so.
#[derive(Debug)]
pub(crate) struct Covering(watch::Sender<Next>);

impl Covering {
    /// With the snapshot that ends with this entry.
    pub(crate) fn upto(last: Option<LogId>) -> Self {
        Self(watch::Sender::new(Some(next_of(last))))
    }

    /// There is a snapshot that ends with this entry.
    pub(crate) fn advance(&self, last: Option<LogId>) {
        self.0.send_modify(|next| *next = next.map(|next| next.max(next_of(last))));
    }

    /// A snapshot could not be kept: the replica ends.
    pub(crate) fn fail(&self) {
        self.0.send_replace(None);
    }

    /// The log's side.
    pub(crate) fn covered(&self) -> Covered {
        Covered(self.0.subscribe())
    }
}

/// The log's side.
#[derive(Clone, Debug)]
pub(crate) struct Covered(watch::Receiver<Next>);

impl Covered {
    /// Waits until this entry is in a snapshot.
    ///
    /// # Errors
    /// When it will never be.
    pub(crate) async fn until(&self, index: u64) -> io::Result<()> {
        let failed = || io::Error::other(format!("the snapshot with log entry {index} was not kept"));
        let mut covered = self.0.clone();
        let reached = covered.wait_for(|next| next.is_none_or(|next| index < next)).await;
        match reached.map(|next| next.is_some()) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(failed()),
        }
    }
}
