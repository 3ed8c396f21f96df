//! A control plane on the memory store, its service on a loopback port, and simulated proxies.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actors::{Authentication, ControlPlane, Settings};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use envoy_types::pb::google::rpc;
use model::registry::{self, DATAPLANE, MESH, MESH_SERVICE};
use model::{Key, Kind, Labels};
use prost::Message;
use serde_json::json;
use store::{MemoryStore, Put, Revision, StatusChange, Store, Txn};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status, Streaming};
use xds::ResourceType;

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) control_plane: ControlPlane,
    address: String,
}

/// Settings of tests: no credentials, status soon, one thread of actors.
pub(crate) fn settings() -> Settings {
    Settings {
        instance_id: "cp-1".into(),
        authentication: Authentication::None,
        status_flush_interval: Duration::from_millis(50),
        deregistration_delay: Duration::from_millis(200),
        arbiters: Some(2),
        ..Settings::default()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(settings()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let store = Arc::new(MemoryStore::new());
        let control_plane = ControlPlane::start(Arc::clone(&store) as Arc<dyn Store>, settings).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder().add_service(control_plane.ads()).add_optional_service(control_plane.health());
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let world = Self { store, control_plane, address };
        world.put(MESH, "default", json!({})).await;
        world
    }

    /// Stores a resource of the default mesh; its revision.
    pub(crate) async fn put(&self, kind: Kind, name: &str, spec: serde_json::Value) -> Revision {
        self.put_labelled(kind, name, &[], spec).await
    }

    pub(crate) async fn put_labelled(
        &self,
        kind: Kind,
        name: &str,
        labels: &[(&str, &str)],
        spec: serde_json::Value,
    ) -> Revision {
        let spec = kind.codec.admit(spec).unwrap();
        let labels: Labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let txn = Txn::new().put(Key::new(kind, "default", name), labels, spec);
        self.store.commit(txn).await.unwrap().revision
    }

    pub(crate) async fn delete(&self, kind: Kind, name: &str) -> Revision {
        self.store.commit(Txn::new().delete(Key::new(kind, "default", name))).await.unwrap().revision
    }

    pub(crate) async fn dataplane(&self, name: &str) -> Revision {
        self.put_labelled(DATAPLANE, name, &[("app", name)], dataplane_spec()).await
    }

    /// A service with this port: other ports make another configuration of its callers.
    pub(crate) async fn service(&self, name: &str, port: u16) -> Revision {
        let spec = json!({"selector": {"dataplaneLabels": {"matchLabels": {"app": name}}},
            "ports": [{"port": port, "targetPort": port, "appProtocol": "http"}]});
        let address = name.bytes().fold(1u8, u8::wrapping_add);
        let status = json!({"vips": [{"ip": format!("241.0.0.{address}")}]});
        let codec = MESH_SERVICE.codec;
        let put = Put {
            key: Key::new(MESH_SERVICE, "default", name),
            labels: Labels::new(),
            spec: codec.admit(spec).unwrap(),
            status: StatusChange::Set((codec.decode_status)(status).unwrap()),
            owner: None,
            times: None,
        };
        self.store.commit(Txn::new().put_with(put)).await.unwrap().revision
    }

    pub(crate) async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.address.clone()).unwrap().connect().await.unwrap()
    }

    /// A proxy of a stored Dataplane.
    pub(crate) async fn proxy(&self, name: &str) -> Proxy {
        Proxy::open(self.channel().await, &format!("default.{name}"), &[]).await
    }

    /// The status with which a stream ends that begins like this.
    pub(crate) async fn refusal(&self, node: &str, metadata: &[(&str, &str)], tokens: &[&str]) -> Status {
        let mut proxy = Proxy::with(self.channel().await, Some(node), metadata, tokens).await;
        proxy.ask(ResourceType::Cluster, &[]).await;
        proxy.end().await
    }

    pub(crate) fn has(&self, kind: Kind, name: &str) -> bool {
        self.store.snapshot().get(&Key::new(kind, "default", name)).is_some()
    }

    /// Waits until the state of the store satisfies `condition`.
    pub(crate) async fn until_stored(&self, condition: impl Fn(&store::State) -> bool) {
        let mut watch = self.store.watch(None, store::KindFilter::All);
        let satisfied = async {
            while !condition(&self.store.snapshot()) {
                watch.next().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, satisfied).await.expect("the store does not get there");
    }

    /// A connected proxy of a new Dataplane that runs all that there is.
    pub(crate) async fn settled_proxy(&self, name: &str) -> Proxy {
        self.dataplane(name).await;
        let mut proxy = self.proxy(name).await;
        proxy.begin().await;
        proxy.next_clusters().await;
        let listeners = proxy.next().await;
        proxy.answer(&listeners, None).await;
        self.until(|control_plane| control_plane.proxies().iter().any(|proxy| proxy.answered.is_some())).await;
        proxy
    }

    /// Waits until `condition` holds of the control plane, which has no event for it.
    pub(crate) async fn until(&self, condition: impl Fn(&ControlPlane) -> bool) {
        let satisfied = async {
            while !condition(&self.control_plane) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, satisfied).await.expect("the control plane does not get there");
    }
}

pub(crate) fn dataplane_spec() -> serde_json::Value {
    json!({"networking": {"address": "127.0.0.1", "inbound": [{"port": 8080}],
        "transparentProxying": {"redirectPortInbound": 15006, "redirectPortOutbound": 15001}}})
}

/// The document of a Dataplane as `kuma-dp` puts it into node metadata.
pub(crate) fn dataplane_document(name: &str, labels: &[(&str, &str)]) -> String {
    let labels: BTreeMap<_, _> = labels.iter().copied().collect();
    let mut document = json!({"type": "Dataplane", "mesh": "default", "name": name, "labels": labels});
    document.as_object_mut().unwrap().extend(dataplane_spec().as_object().unwrap().clone());
    document.to_string()
}

pub(crate) struct Proxy {
    node: Option<Node>,
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    pub(crate) responses: Streaming<DeltaDiscoveryResponse>,
    /// Names and versions of clusters that it runs.
    pub(crate) clusters: BTreeMap<String, String>,
}

impl Proxy {
    pub(crate) async fn open(channel: Channel, node: &str, metadata: &[(&str, &str)]) -> Self {
        Self::with(channel, Some(node), metadata, &[]).await
    }

    pub(crate) async fn with(channel: Channel, node: Option<&str>, metadata: &[(&str, &str)], tokens: &[&str]) -> Self {
        let text = |text: &str| Value { kind: Some(ValueKind::StringValue(text.to_owned())) };
        let fields: HashMap<_, _> = metadata.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect();
        let node = node.map(|id| Node { id: id.to_owned(), metadata: Some(Struct { fields }), ..Node::default() });
        let (requests, receiver) = mpsc::channel(16);
        let mut request = Request::new(ReceiverStream::new(receiver));
        for token in tokens {
            request.metadata_mut().append("authorization", token.parse().unwrap());
        }
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let responses = client.delta_aggregated_resources(request).await.unwrap().into_inner();
        Self { node, requests, responses, clusters: BTreeMap::new() }
    }

    pub(crate) async fn send(&mut self, request: DeltaDiscoveryRequest) {
        // A stream that has ended is seen in its responses.
        drop(self.requests.send(DeltaDiscoveryRequest { node: self.node.take(), ..request }).await);
    }

    pub(crate) async fn ask(&mut self, ty: ResourceType, names: &[&str]) {
        let resource_names_subscribe = names.iter().map(|name| (*name).to_owned()).collect();
        self.send(DeltaDiscoveryRequest {
            type_url: ty.type_url().to_owned(),
            resource_names_subscribe,
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    /// Asks for everything that a proxy begins with.
    pub(crate) async fn begin(&mut self) {
        self.ask(ResourceType::Cluster, &[]).await;
        self.ask(ResourceType::Listener, &[]).await;
    }

    pub(crate) async fn next(&mut self) -> DeltaDiscoveryResponse {
        let next = tokio::time::timeout(PATIENCE, self.responses.message()).await;
        next.expect("a response in time").expect("no error").expect("the stream goes on")
    }

    /// The status with which the stream ends; responses before that are ignored.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            match tokio::time::timeout(PATIENCE, self.responses.message()).await.expect("an end in time") {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("ended"),
                Err(status) => return status,
            }
        }
    }

    pub(crate) async fn answer(&mut self, response: &DeltaDiscoveryResponse, error: Option<&str>) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error.map(|message| rpc::Status { message: message.to_owned(), ..rpc::Status::default() }),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }

    /// Takes and accepts responses until one has clusters; their names.
    pub(crate) async fn next_clusters(&mut self) -> Vec<String> {
        loop {
            let response = self.next().await;
            self.answer(&response, None).await;
            if response.type_url == ResourceType::Cluster.type_url() {
                for cluster in &response.resources {
                    self.clusters.insert(cluster.name.clone(), cluster.version.clone());
                }
                for name in &response.removed_resources {
                    self.clusters.remove(name);
                }
                return response.resources.into_iter().map(|cluster| cluster.name).collect();
            }
        }
    }

    /// Accepts everything from now on, as long as the result is kept.
    pub(crate) fn accept_all(mut self) -> Accepting {
        let (sender, clusters) = watch::channel(self.clusters.clone());
        let (responses, bytes): (Arc<AtomicUsize>, Arc<AtomicUsize>) = (Arc::default(), Arc::default());
        let (count, len) = (Arc::clone(&responses), Arc::clone(&bytes));
        let task = tokio::spawn(async move {
            while let Ok(Some(response)) = self.responses.message().await {
                count.fetch_add(1, Ordering::Relaxed);
                len.fetch_add(response.encoded_len(), Ordering::Relaxed);
                self.answer(&response, None).await;
                if response.type_url == ResourceType::Cluster.type_url() {
                    sender.send_modify(|clusters| {
                        clusters.extend(response.resources.into_iter().map(|c| (c.name, c.version)));
                        clusters.retain(|name, _| !response.removed_resources.contains(name));
                    });
                }
            }
        });
        Accepting { clusters, responses, bytes, _stream: AbortOnDropHandle::new(task) }
    }

    /// Accepts this many responses.
    pub(crate) async fn accept(&mut self, count: usize) {
        for _ in 0..count {
            let response = self.next().await;
            self.answer(&response, None).await;
        }
    }

    /// Accepts everything until the predicate holds of the clusters.
    pub(crate) async fn until_clusters(&mut self, condition: impl Fn(&BTreeMap<String, String>) -> bool) {
        while !condition(&self.clusters) {
            self.next_clusters().await;
        }
    }
}

/// A proxy that accepts everything.
pub(crate) struct Accepting {
    clusters: watch::Receiver<BTreeMap<String, String>>,
    responses: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
    _stream: AbortOnDropHandle<()>,
}

impl Accepting {
    /// How many responses it has got so far.
    pub(crate) fn responses(&self) -> usize {
        self.responses.load(Ordering::Relaxed)
    }

    /// Names and versions of the clusters that it runs.
    pub(crate) fn clusters(&self) -> BTreeMap<String, String> {
        self.clusters.borrow().clone()
    }

    /// How many bytes these had.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits until the predicate holds of its clusters.
    pub(crate) async fn until(&mut self, condition: impl FnMut(&BTreeMap<String, String>) -> bool) {
        let reached = tokio::time::timeout(PATIENCE, self.clusters.wait_for(condition)).await;
        drop(reached.expect("clusters in time").expect("the stream goes on"));
    }
}

/// The kind of insights, for readers of tests.
pub(crate) const INSIGHT: Kind = registry::DATAPLANE_INSIGHT;

impl Proxy {
    /// Sends a request that claims to come from this node.
    pub(crate) async fn claim(&mut self, node: Node) {
        self.node = Some(node);
        self.ask(ResourceType::Listener, &[]).await;
    }
}
