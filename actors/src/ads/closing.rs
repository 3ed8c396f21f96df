//! How a server closes the connection of a proxy so that it connects elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// In the extensions of a request: the end of its connection. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Closing {
    token: CancellationToken,
    carries: Arc<AtomicBool>,
}

impl Closing {
    /// Ends the streams of the connection in order; the server says that it takes no further ones.
    pub fn close(&self) {
        self.token.cancel();
    }

    /// Resolves when the connection is to be closed.
    pub async fn closed(&self) {
        self.token.cancelled().await;
    }

    /// Whether a proxy gets its configuration on the connection, and goes on to.
    pub fn is_of_a_proxy(&self) -> bool {
        self.carries.load(Ordering::Relaxed) && !self.token.is_cancelled()
    }

    /// Notes that it carries a stream; what tells the end.
    pub(crate) fn carries_a_stream(&self) -> CancellationToken {
        self.carries.store(true, Ordering::Relaxed);
        self.token.clone()
    }
}
