//! The open connections of a server, which can be closed one by one in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actors::Closing;
use hyper_util::server::graceful::GracefulConnection;
use tokio_util::sync::CancellationToken;

/// See the module. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections {
    open: Arc<Mutex<BTreeMap<u64, Closing>>>,
    next: Arc<AtomicU64>,
}

impl Connections {
    /// Closes up to `count` connections of proxies in order, those first that are open longest; how
    /// many.
    pub(crate) fn close_of_proxies(&self, count: usize) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_proxies = open.values().filter(|closing| closing.is_of_a_proxy()).take(count);
        of_proxies.map(Closing::close).count()
    }

    /// Notes a connection.
    pub(crate) fn enter(&self) -> Entered {
        let (number, closing) = (self.next.fetch_add(1, Ordering::Relaxed), Closing::default());
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, closing.clone());
        Entered { number, closing, connections: self.clone() }
    }
}

/// An open connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    number: u64,
    /// Its end.
    pub(crate) closing: Closing,
    connections: Connections,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.connections.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// Serves a connection to its end. Once it is to be closed, or the server is `leaving`, open requests
/// are still answered, and the other end takes another connection for the next.
pub(crate) async fn serve<C: GracefulConnection>(
    connection: C,
    closing: &Closing,
    leaving: &CancellationToken,
) -> Result<(), C::Error> {
    let mut connection = std::pin::pin!(connection);
    let leaves = async {
        tokio::select! {
            () = closing.closed() => {}
            () = leaving.cancelled() => {}
        }
    };
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = leaves => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
