//! Envoy's admin interface, as the bootstrap says where it is.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Where Envoy's admin interface listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminAddress {
    /// A Unix socket.
    Socket(String),
    /// An address and a port.
    Tcp {
        /// IP address.
        address: String,
        /// Port.
        port: u16,
    },
}

impl AdminAddress {
    /// Reads the address out of a bootstrap; `None` when Envoy has no admin interface.
    pub(crate) fn of(bootstrap: &Value) -> Option<Self> {
        let address = bootstrap.get("admin")?.get("address")?;
        if let Some(path) = address.pointer("/pipe/path").and_then(Value::as_str) {
            return Some(Self::Socket(path.to_owned()));
        }
        let socket = address.get("socketAddress")?;
        let port = u16::try_from(socket.get("portValue")?.as_u64()?).ok()?;
        Some(Self::Tcp { address: socket.get("address")?.as_str()?.to_owned(), port })
    }
}

/// A client of the admin interface.
#[derive(Clone, Debug)]
pub(crate) struct AdminClient {
    http: reqwest::Client,
    base: String,
}

impl AdminClient {
    /// A client that waits `timeout` for an answer.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(address: &AdminAddress, timeout: Duration) -> Result<Self> {
        let builder = crate::http::client_builder().no_proxy().timeout(timeout).connect_timeout(Duration::from_secs(5));
        let (builder, base) = match address {
            AdminAddress::Socket(path) => (builder.unix_socket(path.as_str()), "http://localhost".to_owned()),
            // Envoy's admin is asked over loopback whatever it is bound to.
            AdminAddress::Tcp { port, .. } => (builder, format!("http://127.0.0.1:{port}")),
        };
        let http = builder.build().context("could not make an HTTP client for Envoy's admin interface")?;
        Ok(Self { http, base })
    }

    /// Posts to `path`.
    ///
    /// # Errors
    /// When Envoy cannot be reached or answers with another status than 200.
    pub(crate) async fn post(&self, path: &str) -> Result<()> {
        let response = self.http.post(format!("{}{path}", self.base)).send().await?;
        if response.status().as_u16() != 200 {
            bail!("Envoy answered {} to {path}", response.status());
        }
        Ok(())
    }

    /// Gets `path`, whatever the status.
    ///
    /// # Errors
    /// When Envoy cannot be reached.
    pub(crate) async fn get(&self, path: &str) -> Result<reqwest::Response> {
        Ok(self.http.get(format!("{}{path}", self.base)).send().await?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_admin_address_is_read_from_the_bootstrap() {
        let of = |address| AdminAddress::of(&json!({"admin": {"address": address}}));
        assert_eq!(of(json!({"pipe": {"path": "/w/a.sock"}})), Some(AdminAddress::Socket("/w/a.sock".to_owned())));
        assert_eq!(
            of(json!({"socketAddress": {"address": "127.0.0.1", "portValue": 9901}})),
            Some(AdminAddress::Tcp { address: "127.0.0.1".to_owned(), port: 9901 })
        );
        assert_eq!(AdminAddress::of(&json!({})), None);
    }
}
