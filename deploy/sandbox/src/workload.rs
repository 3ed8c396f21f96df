//! A workload: a small HTTP service that says who it is and whom it sees.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use tokio::task::JoinHandle;

/// The header in which Envoy tells who the client is.
const CLIENT_HEADER: &str = "x-forwarded-client-cert";

/// A running workload; it ends when it is dropped.
#[derive(Debug)]
pub struct Workload {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Workload {
    /// Starts a workload on a free port of loopback. It answers every path with `<name> saw <client>`,
    /// and `/after/<ms>` only when so many milliseconds have passed.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(name: &str) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port")?;
        let address = listener.local_addr().context("no address")?;
        let app = Router::new().fallback(answer).with_state(Arc::<str>::from(name));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("workload: {error}");
            }
        });
        Ok(Self { address, task })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(name): State<Arc<str>>, uri: Uri, headers: HeaderMap) -> String {
    if let Some(ms) = uri.path().strip_prefix("/after/").and_then(|ms| ms.parse().ok()) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let client = headers.get(CLIENT_HEADER).and_then(|value| value.to_str().ok());
    let id = client.and_then(|text| text.split(';').find_map(|part| part.strip_prefix("URI=")));
    format!("{name} saw {}", id.unwrap_or("nobody"))
}
