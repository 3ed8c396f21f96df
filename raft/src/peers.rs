//! Calls to other replicas.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_prost::ProstCodec;

use crate::codec::{self, RECORD_BYTES_MAX};
use crate::rpc::{Frame, Reply, Request};

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
    /// It may have been.
    #[error("{0}")]
    Lost(String),
}

/// Connections to other replicas by address, made when needed. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    tls: ClientTlsConfig,
    channels: Arc<Mutex<BTreeMap<String, Channel>>>,
}

impl Peers {
    pub(crate) fn new(tls: ClientTlsConfig) -> Self {
        Self { tls, channels: Arc::default() }
    }

    /// Asks one replica.
    pub(crate) async fn call(&self, address: &str, request: &Request, timeout: Duration) -> Result<Reply, CallError> {
        let body = codec::encode(request).map_err(|e| CallError::NotSent(e.to_string()))?;
        let call = async {
            let mut client = self.client(address).await?;
            let frame = Frame { body: body.into() };
            let reply = client
                .unary(tonic::Request::new(frame), PathAndQuery::from_static(CALL), ProstCodec::default())
                .await
                .map_err(|status| self.failed(address, &status))?;
            decode_reply(&reply.into_inner())
        };
        tokio::time::timeout(timeout, call)
            .await
            .unwrap_or_else(|_| Err(CallError::Lost(format!("{address} did not answer in {timeout:?}"))))
    }

    /// Sends a snapshot in chunks.
    pub(crate) async fn install(
        &self,
        address: &str,
        frames: impl futures::Stream<Item = Frame> + Send + 'static,
    ) -> Result<Reply, CallError> {
        let mut client = self.client(address).await?;
        let reply = client
            .client_streaming(tonic::Request::new(frames), PathAndQuery::from_static(INSTALL), ProstCodec::default())
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
                let channel = self.endpoint(address).map_err(|e| not_sent(&e))?.connect().await.map_err(|e| {
                    let cause = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
                    not_sent(&cause)
                })?;
                let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
                channels.insert(address.to_owned(), channel.clone());
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

    fn endpoint(&self, address: &str) -> Result<Endpoint, tonic::transport::Error> {
        Endpoint::from_shared(format!("https://{address}"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .tls_config(self.tls.clone())
    }

    fn forget(&self, address: &str) {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
    }

    fn failed(&self, address: &str, status: &tonic::Status) -> CallError {
        let what = format!("{address}: {}: {}", status.code(), status.message());
        match status.code() {
            tonic::Code::PermissionDenied | tonic::Code::Unimplemented => CallError::NotSent(what),
            _ => {
                self.forget(address);
                CallError::Lost(what)
            }
        }
    }
}

fn decode_reply(frame: &Frame) -> Result<Reply, CallError> {
    codec::decode(&frame.body).map_err(|e| CallError::Lost(e.to_string()))
}
