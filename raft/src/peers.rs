//! Calls to other replicas.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_prost::ProstCodec;

use crate::codec::{self, RECORD_BYTES_MAX};
use crate::rpc::{Frame, Reply, Request};
use crate::types::ReplicaId;

/// Paths of the service.
pub(crate) const SERVICE: &str = "kuma.raft.v1.Replica";
pub(crate) const CALL: &str = "/kuma.raft.v1.Replica/Call";
pub(crate) const INSTALL: &str = "/kuma.raft.v1.Replica/Install";

/// Messages may be as large as a record, and a little more.
pub(crate) const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX as usize + 64 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Why a call gave no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// It was surely not executed.
    #[error("{0}")]
    NotSent(String),
    /// It was not executed, because the replica is of an older version and does not know it.
    #[error("{0}")]
    Older(String),
    /// It may have been.
    #[error("{0}")]
    Lost(String),
}

/// In an answer: the caller is no replica of the group any more.
pub(crate) const REMOVED: &str = "kuma-removed";

/// In a question: the id of the replica that it is for. Another one may have taken its address.
pub(crate) const TARGET: &str = "kuma-target";

/// Connections to other replicas by address, made when needed. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    tls: Arc<ArcSwap<ClientTlsConfig>>,
    channels: Arc<Mutex<BTreeMap<String, Channel>>>,
    /// Turns true when a replica says that this one was removed.
    removed: Arc<watch::Sender<bool>>,
}

impl Peers {
    pub(crate) fn new(tls: ClientTlsConfig) -> Self {
        Self {
            tls: Arc::new(ArcSwap::from_pointee(tls)),
            channels: Arc::default(),
            removed: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Shows another certificate from now on. Open connections are replaced as well.
    pub(crate) fn renew(&self, tls: ClientTlsConfig) {
        self.tls.store(Arc::new(tls));
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Turns true when a replica says that this one was removed.
    pub(crate) fn removed(&self) -> watch::Receiver<bool> {
        self.removed.subscribe()
    }

    /// Asks whoever is at an address; with a target, that replica only.
    ///
    /// A connection that was made before the group's authority was replaced is replaced as well.
    pub(crate) async fn call(
        &self,
        target: Option<ReplicaId>,
        address: &str,
        request: &Request,
        timeout: Duration,
    ) -> Result<Reply, CallError> {
        let body = codec::encode_in(request.format(), request).map_err(|e| CallError::NotSent(e.to_string()))?;
        let body = bytes::Bytes::from(body);
        let call = async {
            let ask = async || {
                let mut client = self.client(address).await?;
                let question = addressed(target, Frame { body: body.clone() });
                let answer = client.unary(question, PathAndQuery::from_static(CALL), ProstCodec::default()).await;
                Ok::<_, CallError>(answer)
            };
            let answer = match ask().await? {
                Err(status) if status.code() == tonic::Code::Aborted => {
                    self.forget(address);
                    ask().await?
                }
                answer => answer,
            };
            let reply: tonic::Response<Frame> = answer.map_err(|status| self.failed(address, &status))?;
            decode_reply(&reply.into_inner())
        };
        tokio::time::timeout(timeout, call)
            .await
            .unwrap_or_else(|_| Err(CallError::Lost(format!("{address} did not answer in {timeout:?}"))))
    }

    /// Sends a snapshot in chunks.
    pub(crate) async fn install(
        &self,
        target: ReplicaId,
        address: &str,
        frames: impl futures::Stream<Item = Frame> + Send + 'static,
    ) -> Result<Reply, CallError> {
        let mut client = self.client(address).await?;
        let reply = client
            .client_streaming(
                addressed(Some(target), frames),
                PathAndQuery::from_static(INSTALL),
                ProstCodec::default(),
            )
            .await
            .map_err(|status| self.failed(address, &status))?;
        decode_reply(&reply.into_inner())
    }

    async fn client(&self, address: &str) -> Result<Grpc<Channel>, CallError> {
        let not_sent = |e: &dyn std::fmt::Display| CallError::NotSent(format!("{address}: {e}"));
        let known = self.channels.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned();
        let channel = match known {
            Some(channel) => channel,
            None => {
                let tls = self.tls.load_full();
                let channel = endpoint(address, &tls).map_err(|e| not_sent(&e))?.connect().await.map_err(|e| {
                    let cause = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
                    not_sent(&cause)
                })?;
                let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
                // Renewed meanwhile, it would show the former certificate for ever.
                if Arc::ptr_eq(&tls, &self.tls.load()) {
                    channels.insert(address.to_owned(), channel.clone());
                }
                channel
            }
        };
        let mut client = Grpc::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        // The channel is closed: the call did not leave.
        client.ready().await.map_err(|e| {
            self.forget(address);
            not_sent(&e)
        })?;
        Ok(client)
    }

    fn forget(&self, address: &str) {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
    }

    fn failed(&self, address: &str, status: &tonic::Status) -> CallError {
        let what = format!("{address}: {}: {}", status.code(), status.message());
        if status.metadata().contains_key(REMOVED) {
            self.removed.send_replace(true);
        }
        match status.code() {
            tonic::Code::PermissionDenied | tonic::Code::Unimplemented => CallError::NotSent(what),
            tonic::Code::Aborted => {
                self.forget(address);
                CallError::NotSent(what)
            }
            // What cannot be read is not executed.
            tonic::Code::InvalidArgument if status.message().contains(codec::NEWER) => CallError::Older(what),
            _ => {
                self.forget(address);
                CallError::Lost(what)
            }
        }
    }
}

fn endpoint(address: &str, tls: &ClientTlsConfig) -> Result<Endpoint, tonic::transport::Error> {
    Endpoint::from_shared(format!("https://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .tls_config(tls.clone())
}

fn addressed<T>(target: Option<ReplicaId>, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(target) = target {
        request.metadata_mut().insert(TARGET, target.into());
    }
    request
}

fn decode_reply(frame: &Frame) -> Result<Reply, CallError> {
    codec::decode(&frame.body).map_err(|e| CallError::Lost(e.to_string()))
}
