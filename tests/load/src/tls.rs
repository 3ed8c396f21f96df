//! Connections to a control plane: TLS with its self-signed certificate pinned, HTTP/2 inside.

use std::sync::Arc;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use identity::client_tls::{Trust, client_config};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

/// How proxies connect.
#[derive(Clone)]
pub(crate) struct Dialer {
    connector: TlsConnector,
    port: u16,
}

impl Dialer {
    /// Connections to a port of this machine whose server has the certificate in `ca_pem`.
    pub(crate) fn new(ca_pem: &str, port: u16) -> Result<Self> {
        let mut config = client_config(&Trust::Pem(ca_pem.to_owned()), None)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), port })
    }

    /// A connection of its own, as every Envoy has one.
    pub(crate) async fn connect(&self) -> Result<Channel> {
        let (connector, port) = (self.connector.clone(), self.port);
        let dial = tower::service_fn(move |_: Uri| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(("127.0.0.1", port)).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
            }
        });
        // The scheme is plain because TLS is done by the connector.
        Endpoint::from_static("http://localhost")
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(1 << 20)
            .connect_with_connector(dial)
            .await
            .context("could not connect")
    }
}
