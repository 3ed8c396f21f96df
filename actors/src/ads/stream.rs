//! One stream from its first request to its actor.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use http::HeaderMap;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use tracing::{info, warn};

use super::body::Outgoing;
use crate::admission::{ProxyId, admit};
use crate::dataplane::DataplaneActor;
use crate::shared::Shared;

/// How long a stream may stay silent before it says who it is.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Admits the proxy and hands its stream to an actor, or ends the stream with the reason.
pub(super) async fn serve(
    shared: Arc<Shared>,
    headers: HeaderMap,
    mut requests: Streaming<DeltaDiscoveryRequest>,
    out: mpsc::Sender<Outgoing>,
) {
    let first = tokio::select! {
        first = tokio::time::timeout(FIRST_REQUEST_TIMEOUT, requests.message()) => first,
        () = shared.draining.cancelled() => return,
    };
    let first = match first {
        Ok(Ok(Some(first))) => first,
        Ok(Ok(None)) => return,
        Ok(Err(status)) => return end(&out, status).await,
        Err(_) => return end(&out, Status::deadline_exceeded("the first request did not come")).await,
    };
    match admit(&shared, &headers, &first).await {
        Ok(admitted) => {
            info!(proxy = %admitted.seat.id, stream = admitted.seat.stream, "connected");
            DataplaneActor::start(&shared, admitted, first, requests, out);
        }
        Err(refusal) => {
            let node = first.node.as_ref().map_or("", |node| &node.id);
            let proxy = ProxyId::parse(node).map_or_else(|_| String::new(), |id| id.to_string());
            warn!(proxy, %refusal, "stream refused");
            metrics::counter!(crate::metrics::STREAMS_REFUSED).increment(1);
            end(&out, refusal.into()).await;
        }
    }
}

async fn end(out: &mpsc::Sender<Outgoing>, status: Status) {
    // Whoever has hung up does not need to hear why.
    drop(out.send(Outgoing::End(status)).await);
}
