//! Where actors run: one OS thread with the actix system, one arbiter thread a core.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use actix::prelude::*;
use actix_rt::ArbiterHandle;

/// Where actors are started.
#[derive(Debug)]
pub(crate) enum Arbiters {
    /// On threads of their own.
    Threads {
        /// One a thread.
        handles: Vec<ArbiterHandle>,
        /// Whose turn it is.
        next: AtomicUsize,
        /// Stops them all.
        system: System,
    },
    /// On the thread that starts them, which must run a `LocalSet`: deterministic tests.
    Local,
}

/// Why no actor can run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The operating system gave no thread.
    #[error("cannot start the actors' thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The thread ended before it had arbiters.
    #[error("the actors' thread ended at its start")]
    Ended,
}

impl Arbiters {
    /// Starts the threads; `None` is one a core.
    pub(crate) fn start(threads: Option<usize>) -> Result<Self, RuntimeError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = threads.unwrap_or(cores).max(1);
        let (sender, receiver) = mpsc::channel();
        std::thread::Builder::new().name("actors".to_owned()).spawn(move || {
            let runner = System::new();
            let handles: Vec<ArbiterHandle> =
                runner.block_on(async { (0..count).map(|_| Arbiter::new().handle()).collect() });
            if sender.send((handles, System::current())).is_ok()
                && let Err(error) = runner.run()
            {
                tracing::error!(%error, "the actors' system failed");
            }
        })?;
        let (handles, system) = receiver.recv().map_err(|_| RuntimeError::Ended)?;
        Ok(Self::Threads { handles, next: AtomicUsize::new(0), system })
    }

    /// How many threads there are.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Threads { handles, .. } => handles.len(),
            Self::Local => 1,
        }
    }

    /// Starts an actor; the arbiters take turns.
    pub(crate) fn spawn<A, F>(&self, make: F) -> Addr<A>
    where
        A: Actor<Context = Context<A>>,
        F: FnOnce(&mut Context<A>) -> A + Send + 'static,
    {
        match self {
            Self::Threads { handles, next, .. } => {
                let turn = next.fetch_add(1, Ordering::Relaxed) % handles.len();
                A::start_in_arbiter(&handles[turn], make)
            }
            Self::Local => A::create(make),
        }
    }

    /// Ends the threads and with them all actors.
    pub(crate) fn stop(&self) {
        if let Self::Threads { system, .. } = self {
            system.stop();
        }
    }
}
