//! What is known of running proxies, written into DataplaneInsights in batches.
//!
//! Actors note here what happens, the newest state of a stream replacing the former; one task
//! writes what changed. Opening and closing a stream is written at once, counters after a while.

mod connection;
mod writer;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::Timestamp;
use model::kinds::dataplane_insight::DataplaneMtls;
use tokio::sync::Notify;

pub(crate) use connection::{Connection, mtls};
pub(crate) use writer::write;

use crate::dataplane::ExchangeLog;

/// Whether a stream has something to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    No,
    Later,
    Now,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Insights {
    /// By number of the stream, so that a later stream of a proxy is written after a former one.
    streams: Mutex<BTreeMap<u64, Noted>>,
    wake: Notify,
}

#[derive(Clone, Debug)]
struct Noted {
    connection: Connection,
    due: Due,
}

impl Insights {
    /// A stream was opened.
    pub(crate) fn connected(&self, connection: Connection) {
        self.streams().insert(connection.stream, Noted { connection, due: Due::Now });
        self.wake.notify_one();
    }

    /// Responses or answers were exchanged.
    pub(crate) fn exchanged(&self, stream: u64, log: ExchangeLog) {
        self.note(stream, Due::Later, |connection| {
            let is_new = connection.log != log;
            connection.log = log;
            is_new
        });
    }

    /// The proxy has this certificate, or none.
    pub(crate) fn identity(&self, stream: u64, mtls: Option<DataplaneMtls>) {
        self.note(stream, Due::Now, |connection| {
            let is_new = connection.mtls != mtls;
            connection.mtls = mtls;
            is_new
        });
    }

    /// The stream was closed.
    pub(crate) fn disconnected(&self, stream: u64, now: Timestamp) {
        self.note(stream, Due::Now, |connection| connection.disconnect_time.replace(now).is_none());
    }

    /// All open streams show that they live.
    fn grow(&self) {
        for noted in self.streams().values_mut() {
            noted.connection.generation = noted.connection.generation.wrapping_add(1);
            noted.due = noted.due.max(Due::Later);
        }
    }

    /// `change` tells whether it changed anything.
    fn note(&self, stream: u64, due: Due, change: impl FnOnce(&mut Connection) -> bool) {
        let mut streams = self.streams();
        let Some(noted) = streams.get_mut(&stream) else { return };
        if change(&mut noted.connection) {
            let wakes = noted.due == Due::No || due == Due::Now;
            noted.due = noted.due.max(due);
            if wakes {
                self.wake.notify_one();
            }
        }
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<u64, Noted>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
