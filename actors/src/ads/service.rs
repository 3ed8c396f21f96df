//! The gRPC service: which methods there are, and how a stream becomes an actor.

use std::convert::Infallible;
use std::future::Ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use hyper::body::Body as HttpBody;
use tokio::sync::mpsc;
use tonic::codec::{BufferSettings, Streaming};
use tonic::metadata::GRPC_CONTENT_TYPE;
use tonic::server::NamedService;
use tonic::{Status, body::Body};
use tonic_prost::ProstCodec;

use super::body::{Outgoing, OutgoingBody};
use super::closing::Closing;
use super::stream;
use crate::shared::Shared;

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const STATE_OF_THE_WORLD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// How many responses wait for the connection. A session leaves one of each type unanswered at
/// most, so a proxy that answers only what it has read never fills it.
const OUTGOING_LEN_MAX: usize = 8;

/// The longest request that is read, in bytes: the initial versions of 50,000 resources fit.
const REQUEST_LEN_MAX: usize = 8 * 1024 * 1024;

/// The aggregated discovery service over delta streams, ready to be mounted on a gRPC server.
#[derive(Clone)]
pub struct AdsService {
    shared: Arc<Shared>,
}

impl AdsService {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn open<B>(&self, request: http::Request<B>) -> http::Response<Body>
    where
        B: HttpBody<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let decoder =
            ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryRequest>::raw_decoder(BufferSettings::default());
        let requests = Streaming::new_request(decoder, body, None, Some(REQUEST_LEN_MAX));
        let (out, responses) = mpsc::channel::<Outgoing>(OUTGOING_LEN_MAX);
        let closing = parts.extensions.get::<Closing>().map(Closing::carries_a_stream).unwrap_or_default();
        let body = OutgoingBody::new(responses, Arc::clone(&self.shared.settings.instance_id), closing);
        self.shared.spawn(stream::serve(Arc::clone(&self.shared), parts.headers, requests, out));
        let mut response = http::Response::new(Body::new(body));
        response.headers_mut().insert(http::header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
        response
    }
}

impl std::fmt::Debug for AdsService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdsService").finish_non_exhaustive()
    }
}

impl NamedService for AdsService {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl<B> tower::Service<http::Request<B>> for AdsService
where
    B: HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let response = match request.uri().path() {
            DELTA => self.open(request),
            STATE_OF_THE_WORLD => {
                Status::unimplemented("state-of-the-world xDS is not served, use api_type DELTA_GRPC").into_http()
            }
            _ => Status::unimplemented("no such method").into_http(),
        };
        std::future::ready(Ok(response))
    }
}
