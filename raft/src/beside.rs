//! Disk work beside the asynchronous threads.
//!
//! A runtime with a single thread, which is that of the simulation, does it in its own: which of two threads
//! is first would be chance that no seed repeats.

use std::io;

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does it, and waits for it.
///
/// # Errors
/// Those of the work; one more when the runtime ends before it.
pub(crate) async fn done<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?,
    }
}
