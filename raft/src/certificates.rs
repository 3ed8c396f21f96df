//! The certificates that this replica shows: renewed long before they end.

use std::time::Duration;

use tokio::sync::watch;
use tonic::transport::ServerTlsConfig;

use crate::peers::Peers;
use crate::pki::Pki;
use crate::types::ReplicaId;

/// Shows others a new certificate after each `interval`, on both sides of connections.
pub(crate) async fn renew(
    pki: Pki,
    id: ReplicaId,
    interval: Duration,
    peers: Peers,
    server: watch::Sender<ServerTlsConfig>,
) {
    loop {
        tokio::time::sleep(interval).await;
        match (pki.server_tls(id, interval), pki.client_tls(id, interval)) {
            (Ok(listener), Ok(client)) => {
                server.send_replace(listener);
                peers.renew(client);
                tracing::info!("certificate of this replica renewed");
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "certificate of this replica was not renewed, tried again later");
            }
        }
    }
}
