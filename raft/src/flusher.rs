//! Makes the log durable: one fsync for all that queued up since the last.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use openraft::storage::LogFlushed;
use tokio::sync::oneshot;

use crate::latency::Latency;
use crate::log::LogBackend;
use crate::types::TypeConfig;

/// Who waits for a sync.
pub(crate) enum Job {
    /// openraft, for appended entries.
    Log(LogFlushed<TypeConfig>),
    /// A writer of the hard state.
    Wait(oneshot::Sender<io::Result<()>>),
}

impl Job {
    /// Tells whoever waits.
    pub(crate) fn complete(self, synced: &io::Result<()>) {
        let result = match synced {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        match self {
            Self::Log(callback) => callback.log_io_completed(result),
            // The waiter may be gone with its replica.
            Self::Wait(done) => drop(done.send(result)),
        }
    }
}

/// The way to whoever syncs. After a failed sync every later job fails too: what the disk lost once
/// cannot be made durable by asking again.
#[derive(Clone)]
pub(crate) struct Flusher {
    queue: Arc<dyn Fn(Job) -> io::Result<()> + Send + Sync>,
}

impl std::fmt::Debug for Flusher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flusher").finish_non_exhaustive()
    }
}

impl Flusher {
    /// Starts a thread that syncs. It ends when the last clone of the flusher is gone.
    pub(crate) fn start(backend: Arc<dyn LogBackend>, latency: Latency) -> io::Result<Self> {
        let (jobs, queue): (Sender<Job>, _) = channel();
        std::thread::Builder::new()
            .name("raft-flusher".to_owned())
            .spawn(move || flush(&*backend, &queue, &latency))?;
        Ok(Self::to(move |job| jobs.send(job).map_err(|_| io::Error::other("flusher stopped"))))
    }

    /// Queues jobs elsewhere.
    pub(crate) fn to(queue: impl Fn(Job) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { queue: Arc::new(queue) }
    }

    /// Queues a job.
    pub(crate) fn queue(&self, job: Job) -> io::Result<()> {
        (self.queue)(job)
    }
}

fn flush(backend: &dyn LogBackend, queue: &Receiver<Job>, latency: &Latency) {
    let mut synced = Ok(());
    while let Ok(first) = queue.recv() {
        let mut jobs = vec![first];
        jobs.extend(queue.try_iter());
        if synced.is_ok() {
            let start = Instant::now();
            synced = backend.sync();
            latency.record(start.elapsed());
        }
        if let Err(error) = &synced {
            tracing::error!(%error, "log cannot be synced, replica stops");
        }
        for job in jobs {
            job.complete(&synced);
        }
    }
}
