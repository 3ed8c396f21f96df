//! Looking up host names: the one input of the actors that is not in the store.

use std::fmt;
use std::net::IpAddr;

use futures::future::{BoxFuture, FutureExt};

/// Finds the addresses of host names.
pub trait Names: fmt::Debug + Send + Sync {
    /// The addresses of a name; none when it is not found.
    fn look_up(&self, name: &str) -> BoxFuture<'static, Vec<IpAddr>>;
}

/// As the system does it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn look_up(&self, name: &str) -> BoxFuture<'static, Vec<IpAddr>> {
        let name = name.to_owned();
        async move {
            let found = tokio::net::lookup_host((name, 0)).await;
            found.map_or_else(|_| Vec::new(), |found| found.map(|address| address.ip()).collect())
        }
        .boxed()
    }
}
