//! Proxies that report whether their workloads answer.

use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Node};
use envoy_types::pb::envoy::service::health::v3::health_check_request_or_endpoint_health_response::RequestType;
use envoy_types::pb::envoy::service::health::v3::health_discovery_service_client::HealthDiscoveryServiceClient;
use envoy_types::pb::envoy::service::health::v3::{
    ClusterEndpointsHealth, EndpointHealth, EndpointHealthResponse, HealthCheckRequest,
    HealthCheckRequestOrEndpointHealthResponse, HealthCheckSpecifier, LocalityEndpointsHealth,
};
use model::Key;
use model::kinds::dataplane::{Dataplane, InboundState};
use model::registry::DATAPLANE;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::world::{PATIENCE, World};

struct Reporter {
    requests: mpsc::Sender<HealthCheckRequestOrEndpointHealthResponse>,
    specifiers: Streaming<HealthCheckSpecifier>,
}

impl Reporter {
    async fn open(world: &World, node: &str) -> Self {
        let (requests, receiver) = mpsc::channel(4);
        let node = Node { id: node.to_owned(), ..Node::default() };
        let first = RequestType::HealthCheckRequest(HealthCheckRequest { node: Some(node), capability: None });
        requests.send(message(first)).await.unwrap();
        let mut client = HealthDiscoveryServiceClient::new(world.channel().await);
        let specifiers = client.stream_health_check(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { requests, specifiers }
    }

    /// The names of what is to be checked.
    async fn asked(&mut self) -> Vec<String> {
        let next = tokio::time::timeout(PATIENCE, self.specifiers.message()).await;
        let specifier = next.expect("a specifier in time").expect("no error").expect("the stream goes on");
        specifier.cluster_health_checks.into_iter().map(|cluster| cluster.cluster_name).collect()
    }

    async fn report(&self, status: HealthStatus) {
        let health = EndpointHealth { health_status: status.into(), ..EndpointHealth::default() };
        let cluster = ClusterEndpointsHealth {
            cluster_name: "localhost:8080".to_owned(),
            locality_endpoints_health: vec![LocalityEndpointsHealth { locality: None, endpoints_health: vec![health] }],
        };
        let report =
            EndpointHealthResponse { cluster_endpoints_health: vec![cluster], ..EndpointHealthResponse::default() };
        self.requests.send(message(RequestType::EndpointHealthResponse(report))).await.unwrap();
    }
}

fn message(request: RequestType) -> HealthCheckRequestOrEndpointHealthResponse {
    HealthCheckRequestOrEndpointHealthResponse { request_type: Some(request) }
}

fn spec(inbound: Value) -> Value {
    json!({"networking": {"address": "10.0.0.1", "inbound": [inbound]}})
}

fn state_of(state: &store::State, name: &str) -> Option<InboundState> {
    let stored = state.get(&Key::new(DATAPLANE, "default", name))?;
    Some(stored.spec::<Dataplane>()?.networking.as_ref()?.inbound.first()?.state)
}

#[tokio::test(flavor = "multi_thread")]
async fn dataplane_follows_the_reports_of_its_proxy() {
    let world = World::new().await;
    let inbound = json!({"port": 8080, "state": "NotReady", "serviceProbe": {"tcp": {}}});
    world.put(DATAPLANE, "web", spec(inbound)).await;
    let mut proxy = Reporter::open(&world, "default.web").await;
    assert_eq!(proxy.asked().await, ["system_envoy_admin", "localhost:8080"]);
    for (status, expected) in
        [(HealthStatus::Healthy, InboundState::Ready), (HealthStatus::Unhealthy, InboundState::NotReady)]
    {
        proxy.report(status).await;
        world.until_stored(|state| state_of(state, "web") == Some(expected)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_is_asked_once_there_is_something_to_check() {
    let world = World::new().await;
    let mut early = Reporter::open(&world, "default.web").await;
    world.put(DATAPLANE, "web", spec(json!({"port": 80}))).await;
    world.put(DATAPLANE, "web", spec(json!({"port": 80, "serviceProbe": {"tcp": {}}}))).await;
    assert_eq!(early.asked().await, ["system_envoy_admin", "localhost:80"]);
    world.delete(DATAPLANE, "web").await;
    let end = tokio::time::timeout(PATIENCE, early.specifiers.message()).await.expect("an end in time");
    assert_eq!(end.unwrap_err().message(), "the dataplane is gone");
}
