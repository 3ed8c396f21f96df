//! The gRPC service, and one stream of it.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::health::v3::health_check_request_or_endpoint_health_response::RequestType;
use envoy_types::pb::envoy::service::health::v3::health_discovery_service_server::{
    HealthDiscoveryService, HealthDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::health::v3::{
    ClusterEndpointsHealth, HealthCheckRequest, HealthCheckRequestOrEndpointHealthResponse, HealthCheckSpecifier,
};
use http::HeaderMap;
use model::kinds::dataplane::Dataplane;
use model::{Resource, Spec};
use serde_json::Value;
use store::{CommitError, Put, StatusChange, Txn};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use xds::bootstrap::ProxyMetadata;
use xds::health::{after_report, has_probes, specifier};

use super::watchers::Watcher;
use crate::admission::{ProxyId, admit_reporter};
use crate::ads::request::json_object;
use crate::shared::Shared;

/// How long a stream may stay silent before it says who it is.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stream waits for its Dataplane: the proxy's other stream may just bring it.
const DATAPLANE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a write that lost a race is tried again.
const ATTEMPTS_MAX: usize = 5;

type Message = HealthCheckRequestOrEndpointHealthResponse;
type Out = mpsc::Sender<Result<HealthCheckSpecifier, Status>>;

/// The health discovery service, ready to be mounted on a gRPC server.
#[derive(Clone)]
pub struct HealthService {
    shared: Arc<Shared>,
}

impl HealthService {
    pub(crate) fn server(shared: Arc<Shared>) -> HealthDiscoveryServiceServer<Self> {
        HealthDiscoveryServiceServer::new(Self { shared })
    }
}

impl std::fmt::Debug for HealthService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HealthService").finish_non_exhaustive()
    }
}

#[tonic::async_trait]
impl HealthDiscoveryService for HealthService {
    type StreamHealthCheckStream = ReceiverStream<Result<HealthCheckSpecifier, Status>>;

    async fn stream_health_check(
        &self,
        request: Request<Streaming<Message>>,
    ) -> Result<Response<Self::StreamHealthCheckStream>, Status> {
        let headers = request.metadata().clone().into_headers();
        let requests = request.into_inner();
        let (out, specifiers) = mpsc::channel(1);
        let shared = Arc::clone(&self.shared);
        self.shared.spawn(async move {
            let draining = shared.draining.clone();
            let served = draining.run_until_cancelled(serve(&shared, &headers, requests, &out)).await;
            let end = served.unwrap_or_else(|| Err(Status::unavailable("the control plane is shutting down")));
            if let Err(status) = end {
                // Whoever has hung up does not need to hear why.
                drop(out.send(Err(status)).await);
            }
        });
        Ok(Response::new(ReceiverStream::new(specifiers)))
    }

    async fn fetch_health_check(&self, _: Request<Message>) -> Result<Response<HealthCheckSpecifier>, Status> {
        Err(Status::unimplemented("health checks are streamed"))
    }
}

/// One stream, from its first request to its end.
async fn serve(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    mut requests: Streaming<Message>,
    out: &Out,
) -> Result<(), Status> {
    let first = tokio::time::timeout(FIRST_REQUEST_TIMEOUT, requests.message()).await;
    let Some(first) = first.map_err(|_| Status::deadline_exceeded("the first request did not come"))?? else {
        return Ok(());
    };
    let Some(RequestType::HealthCheckRequest(request)) = first.request_type else {
        return Err(Status::unknown("HDS request must have a valid Proxy Id"));
    };
    let (id, metadata) = who(&request)?;
    let watcher = Watcher::new(shared, id.dataplane());
    let exists = async {
        while shared.store.snapshot().get(&id.dataplane()).is_none() {
            watcher.changed().await;
        }
    };
    let waited = tokio::time::timeout(DATAPLANE_TIMEOUT, exists).await;
    waited.map_err(|_| {
        Status::unknown("dataplane not found. Create Dataplane in Kuma CP first or pass it as an argument to kuma-dp")
    })?;
    admit_reporter(shared, headers, &id)?;
    metrics::gauge!("hds_streams_active").increment(1.0);
    let _active = Active;
    let mut sent = None;
    loop {
        let state = shared.store.snapshot();
        let Some(dataplane) = state.get(&id.dataplane()).and_then(|stored| stored.spec::<Dataplane>()) else {
            return Err(Status::unknown("the dataplane is gone"));
        };
        // A proxy without anything to check is not made to report every few seconds.
        if has_probes(dataplane) || sent.is_some() {
            let wanted = specifier(dataplane, &metadata, &shared.settings.health.unwrap_or_default());
            if sent.as_ref() != Some(&wanted) {
                metrics::counter!("hds_generation").increment(1);
                if out.send(Ok(wanted.clone())).await.is_err() {
                    return Ok(());
                }
                sent = Some(wanted);
            }
        }
        tokio::select! {
            () = watcher.changed() => {}
            message = requests.message() => match message?.map(|message| message.request_type) {
                None => return Ok(()),
                Some(Some(RequestType::EndpointHealthResponse(report))) => {
                    metrics::counter!("hds_responses_sent").increment(1);
                    take(shared, &id, &report.cluster_endpoints_health).await?;
                }
                Some(Some(RequestType::HealthCheckRequest(request))) => {
                    if request.node.as_ref().is_some_and(|node| !node.id.is_empty()) && who(&request)?.0 != id {
                        return Err(Status::unknown(format!("stream was not authenticated for ID {id}")));
                    }
                }
                Some(None) => {}
            }
        }
    }
}

/// A stream that is open.
struct Active;

impl Drop for Active {
    fn drop(&mut self) {
        metrics::gauge!("hds_streams_active").decrement(1.0);
    }
}

/// Who reports, and what it says of itself.
fn who(request: &HealthCheckRequest) -> Result<(ProxyId, ProxyMetadata), Status> {
    let node = request.node.as_ref();
    let id = ProxyId::parse(node.map_or("", |node| &node.id))
        .map_err(|error| Status::unknown(format!("HDS request must have a valid Proxy Id: {error}")))?;
    let raw = node.and_then(|node| node.metadata.as_ref()).map(json_object);
    let metadata = ProxyMetadata::parse(&raw.map_or(Value::Null, Value::Object));
    Ok((id, metadata.map_err(|error| Status::invalid_argument(error.to_string()))?))
}

/// Writes what a report makes of the Dataplane.
async fn take(shared: &Shared, id: &ProxyId, report: &[ClusterEndpointsHealth]) -> Result<(), Status> {
    for _ in 0..ATTEMPTS_MAX {
        let state = shared.store.snapshot();
        let Some(stored) = state.get(&id.dataplane()) else { return Ok(()) };
        let Some(changed) = stored.spec::<Dataplane>().and_then(|spec| after_report(spec, report)) else {
            return Ok(());
        };
        let spec = Spec::of(changed).map_err(|error| Status::internal(error.to_string()))?;
        match shared.store.commit(write(stored, spec)).await {
            Ok(committed) => {
                tracing::info!(proxy = %id, revision = %committed.revision, "health of the workload changed");
                return Ok(());
            }
            Err(CommitError::Guard(_) | CommitError::Unknown) => {}
            Err(error) => {
                // The next report tries again.
                tracing::warn!(proxy = %id, %error, "health of the workload is not written");
                return Ok(());
            }
        }
    }
    Ok(())
}

fn write(stored: &Resource, spec: Spec) -> Txn {
    let put = Put {
        key: stored.key.clone(),
        labels: stored.meta.labels.clone(),
        spec,
        status: StatusChange::Keep,
        owner: stored.meta.owner.clone(),
        times: None,
    };
    Txn::new().require_version(stored.key.clone(), stored.meta.version).put_with(put)
}
