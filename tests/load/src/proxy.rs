//! One simulated proxy: Envoy's side of the delta conversation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value, value::Kind};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::measure::{Seen, SharedBoard};
use crate::tls::Dialer;

pub(crate) const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub(crate) const ENDPOINT: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
pub(crate) const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
pub(crate) const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// What a proxy is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) mesh: Arc<str>,
    pub(crate) name: String,
    pub(crate) token: Arc<str>,
    /// Its Dataplane, as JSON text.
    pub(crate) resource: String,
    /// The secrets that its listeners name.
    pub(crate) secrets: Arc<[String]>,
}

/// What a proxy has; it survives a reconnect.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    versions: BTreeMap<String, BTreeMap<String, String>>,
    endpoints_wanted: BTreeSet<String>,
    seen: Seen,
    complete: bool,
}

/// Runs one stream until it ends; what it learned stays in `memory`.
pub(crate) async fn converse(
    dialer: &Dialer,
    identity: &Identity,
    memory: &mut Memory,
    board: &SharedBoard,
) -> Result<()> {
    let channel = dialer.connect().await?;
    let (requests, outgoing) = mpsc::channel(16);
    let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    let token: MetadataValue<_> = identity.token.parse().context("the token is no header")?;
    request.metadata_mut().insert("authorization", token);
    for (i, ty) in [CLUSTER, LISTENER].into_iter().enumerate() {
        let mut first = subscription(ty, Vec::new(), memory);
        first.node = (i == 0).then(|| node(identity));
        requests.send(first).await?;
    }
    if memory.complete {
        let endpoints = memory.endpoints_wanted.iter().cloned().collect();
        requests.send(subscription(ENDPOINT, endpoints, memory)).await?;
        requests.send(subscription(SECRET, identity.secrets.to_vec(), memory)).await?;
    }
    let mut responses = client.delta_aggregated_resources(request).await.context("stream refused")?.into_inner();
    // A proxy that comes back is answered on both, even when it has everything.
    let mut unanswered = if memory.complete { vec![CLUSTER, LISTENER] } else { Vec::new() };
    while let Some(response) = responses.message().await? {
        board.responses.fetch_add(1, Ordering::Relaxed);
        board.bytes.fetch_add(response.encoded_len() as u64, Ordering::Relaxed);
        let ack = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        };
        board.repeated_bytes.fetch_add(memory.repeated(&response), Ordering::Relaxed);
        let further = memory.take(&response, identity);
        requests.send(ack).await?;
        for request in further {
            requests.send(request).await?;
        }
        board.acknowledged(&mut memory.seen, &response);
        if !unanswered.is_empty() {
            unanswered.retain(|ty| *ty != response.type_url);
            if unanswered.is_empty() {
                board.resumed();
            }
        }
        if !memory.complete && memory.has_everything(identity) {
            memory.complete = true;
            board.completed();
        }
    }
    Ok(())
}

impl Memory {
    /// Bytes of resources that come in the version that the proxy has.
    fn repeated(&self, response: &DeltaDiscoveryResponse) -> u64 {
        let Some(known) = self.versions.get(&response.type_url) else { return 0 };
        let is_known = |r: &&Resource| known.get(&r.name).is_some_and(|version| *version == r.version);
        response.resources.iter().filter(is_known).map(|r| r.encoded_len() as u64).sum()
    }

    /// Takes a response in; what Envoy asks for next.
    fn take(&mut self, response: &DeltaDiscoveryResponse, identity: &Identity) -> Vec<DeltaDiscoveryRequest> {
        let known = self.versions.entry(response.type_url.clone()).or_default();
        let is_first = known.is_empty();
        for resource in &response.resources {
            known.insert(resource.name.clone(), resource.version.clone());
        }
        for name in &response.removed_resources {
            known.remove(name);
        }
        match response.type_url.as_str() {
            CLUSTER => {
                // Outbound clusters, and only they, are named by an identifier and take endpoints.
                let named = response.resources.iter().map(|r| &r.name).filter(|name| name.starts_with("kri_"));
                let new: Vec<_> = named.filter(|name| self.endpoints_wanted.insert((*name).clone())).cloned().collect();
                if new.is_empty() { Vec::new() } else { vec![subscription(ENDPOINT, new, &Self::default())] }
            }
            LISTENER if is_first => vec![subscription(SECRET, identity.secrets.to_vec(), &Self::default())],
            _ => Vec::new(),
        }
    }

    fn has_everything(&self, identity: &Identity) -> bool {
        let count = |ty: &str| self.versions.get(ty).map_or(0, BTreeMap::len);
        count(LISTENER) > 0 && count(ENDPOINT) == self.endpoints_wanted.len() && count(SECRET) == identity.secrets.len()
    }
}

fn subscription(ty: &str, names: Vec<String>, memory: &Memory) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: ty.to_owned(),
        resource_names_subscribe: names,
        initial_resource_versions: memory.versions.get(ty).cloned().unwrap_or_default().into_iter().collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

fn text(value: &str) -> Value {
    Value { kind: Some(Kind::StringValue(value.to_owned())) }
}

fn node(identity: &Identity) -> Node {
    let features = ["feature-tcp-accesslog-via-named-pipe", "feature-strict-inbound-ports", "feature-reuse-port"];
    let features = ListValue { values: features.into_iter().map(text).collect() };
    let versions = |name: &str| {
        let fields = [("version".to_owned(), text(name))].into();
        Value { kind: Some(Kind::StructValue(Struct { fields })) }
    };
    let version =
        Struct { fields: [("kumaDp".to_owned(), versions("3.0.0")), ("envoy".to_owned(), versions("1.40.0"))].into() };
    let fields = [
        ("dataplane.resource".to_owned(), text(&identity.resource)),
        ("dataplane.proxyType".to_owned(), text("dataplane")),
        ("dataplane.admin.port".to_owned(), text("9901")),
        ("dataplane.readinessReporter.port".to_owned(), text("9902")),
        ("workdir".to_owned(), text("/tmp")),
        ("features".to_owned(), Value { kind: Some(Kind::ListValue(features)) }),
        ("version".to_owned(), Value { kind: Some(Kind::StructValue(version)) }),
    ];
    Node {
        id: format!("{}.{}", identity.mesh, identity.name),
        metadata: Some(Struct { fields: fields.into() }),
        ..Node::default()
    }
}
