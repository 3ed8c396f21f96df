//! The floor: a server that authenticates nobody, computes nothing, and pushes ready bytes. What it
//! takes to reach the last proxy is what this machine takes at least.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use clap::Args;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_types::pb::google::protobuf::Any;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// What the server needs.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Port to listen on.
    #[arg(long)]
    port: u16,
    /// Certificate in PEM.
    #[arg(long)]
    certificate: std::path::PathBuf,
    /// Its key in PEM.
    #[arg(long)]
    key: std::path::PathBuf,
}

const TYPE_URL: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

struct Pusher {
    pushed: broadcast::Sender<Arc<DeltaDiscoveryResponse>>,
    /// How many bytes a stream gets at its beginning; none when 0.
    greeting_len: Arc<AtomicUsize>,
}

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Pusher {
    type StreamAggregatedResourcesStream = Out<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Out<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let mut pushed = self.pushed.subscribe();
        let mut answers = request.into_inner();
        let (sender, receiver) = mpsc::channel(4);
        let greeting_len = self.greeting_len.load(Ordering::SeqCst);
        tokio::spawn(async move {
            if greeting_len > 0 && sender.send(Ok(ready_bytes(greeting_len, "greeting"))).await.is_err() {
                return;
            }
            loop {
                tokio::select! {
                    response = pushed.recv() => {
                        let Ok(response) = response else { return };
                        if sender.send(Ok((*response).clone())).await.is_err() {
                            return;
                        }
                    }
                    answer = answers.next() => if !matches!(answer, Some(Ok(_))) { return },
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Serves until standard input ends, whose lines tell it what to push.
pub(crate) async fn serve(flags: Flags) -> Result<()> {
    let chain = CertificateDer::pem_file_iter(&flags.certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&flags.key)?;
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", flags.port)).await.context("could not listen")?;
    let (connections, accepted) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, connections) = (acceptor.clone(), connections.clone());
            tokio::spawn(async move {
                if stream.set_nodelay(true).is_ok()
                    && let Ok(stream) = acceptor.accept(stream).await
                {
                    connections.send(Ok::<_, std::io::Error>(stream)).await.ok();
                }
            });
        }
    });
    let (push, _) = broadcast::channel(16);
    let greeting_len = Arc::new(AtomicUsize::new(0));
    let pusher = Pusher { pushed: push.clone(), greeting_len: Arc::clone(&greeting_len) };
    let service = AggregatedDiscoveryServiceServer::new(pusher);
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .add_service(service)
        .serve_with_incoming(ReceiverStream::new(accepted));
    tokio::select! {
        served = server => served.context("the server failed"),
        read = read_lines(push, &greeting_len) => read,
    }
}

/// Reads `push N`, and `greet N`: what streams get at their beginning.
async fn read_lines(push: broadcast::Sender<Arc<DeltaDiscoveryResponse>>, greeting_len: &AtomicUsize) -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut nonce = 0;
    while let Some(line) = lines.next_line().await? {
        let (what, len) = line.split_once(' ').context("expected a word and a number of bytes")?;
        let len: usize = len.parse().context("expected a number of bytes")?;
        if what == "greet" {
            greeting_len.store(len, Ordering::SeqCst);
        } else {
            nonce += 1;
            // Nobody being connected is not an error of the server.
            push.send(Arc::new(ready_bytes(len, &nonce.to_string()))).ok();
        }
    }
    Ok(())
}

fn ready_bytes(len: usize, nonce: &str) -> DeltaDiscoveryResponse {
    let resource = Resource {
        name: "floor".to_owned(),
        version: nonce.to_owned(),
        resource: Some(Any { type_url: TYPE_URL.to_owned(), value: vec![0; len] }),
        ..Resource::default()
    };
    DeltaDiscoveryResponse {
        type_url: TYPE_URL.to_owned(),
        nonce: nonce.to_owned(),
        resources: vec![resource],
        ..DeltaDiscoveryResponse::default()
    }
}
