//! What is known of running proxies, written into DataplaneInsights in batches.
//!
//! Actors note here what happens, the newest state of a stream replacing the former; one task
//! writes what changed. That a stream came or left is written soon, counters after a while and at a
//! pace at which a thousand proxies cost next to nothing.

mod connection;
mod queue;
mod transaction;
mod writer;

use std::sync::{Mutex, MutexGuard, PoisonError};

use model::Timestamp;
use model::kinds::dataplane_insight::DataplaneMtls;
use tokio::sync::Notify;

pub(crate) use connection::{Connection, mtls};
pub(crate) use writer::write;

use crate::dataplane::ExchangeLog;
use queue::{Due, Queue};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Insights {
    queue: Mutex<Queue>,
    /// Woken when something is to be written, or more urgently than before.
    wake: Notify,
}

impl Insights {
    /// A stream was opened.
    pub(crate) fn connected(&self, connection: Connection) {
        self.change(|queue| queue.put(connection));
    }

    /// Responses or answers were exchanged.
    pub(crate) fn exchanged(&self, stream: u64, log: ExchangeLog) {
        self.note(stream, |connection| {
            let former = std::mem::replace(&mut connection.log, log);
            match former == log {
                true => Due::No,
                false if former.rejected() < log.rejected() => Due::Soon,
                false => Due::Later,
            }
        });
    }

    /// The proxy has this certificate, or none.
    pub(crate) fn identity(&self, stream: u64, mtls: Option<DataplaneMtls>) {
        self.note(stream, |connection| {
            let former = std::mem::replace(&mut connection.mtls, mtls);
            if former == connection.mtls { Due::No } else { Due::Soon }
        });
    }

    /// The stream was closed.
    pub(crate) fn disconnected(&self, stream: u64, now: Timestamp) {
        self.note(
            stream,
            |connection| {
                if connection.disconnect_time.replace(now).is_none() { Due::Soon } else { Due::No }
            },
        );
    }

    /// `change` tells how urgent what it changed is.
    fn note(&self, stream: u64, change: impl FnOnce(&mut Connection) -> Due) {
        self.change(|queue| queue.note(stream, change));
    }

    /// Wakes the writer when something is due that was not.
    fn change(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.queue();
        let was_due = queue.most_urgent();
        change(&mut queue);
        let wakes = queue.most_urgent() > was_due;
        drop(queue);
        if wakes {
            self.wake.notify_one();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
