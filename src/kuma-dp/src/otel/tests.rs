//! Telemetry on its way from Envoy to a collector.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::channel::Channel;
use super::config::{Plan, Signal};
use super::export::request;
use super::protocol::{Data, ExportMetricsServiceRequest};
use super::{SharedPlan, grpc, run};
use crate::metrics::{Family, FamilyKind, Sample, Scraper};

/// A collector that says what it was sent, and answers with a trailer of its own.
async fn collector(listener: TcpListener, heard: mpsc::UnboundedSender<(String, Bytes)>) {
    while let Ok((stream, _)) = listener.accept().await {
        let heard = heard.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let heard = heard.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await.unwrap().to_bytes();
                heard.send((path, body)).unwrap();
                let trailers = HeaderMap::from_iter([(grpc::STATUS, HeaderValue::from_static("0"))]);
                Ok::<_, Infallible>(grpc::answer(grpc::frame(b"ok"), trailers))
            }
        });
        tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
    }
}

fn scraper() -> Arc<Scraper> {
    Arc::new(Scraper::new(None, "127.0.0.1", false, crate::metrics::SharedConfig::default(), "3.0.0").unwrap())
}

fn plan(document: serde_json::Value) -> Plan {
    serde_json::from_value(document).unwrap()
}

#[tokio::test]
async fn what_envoy_sends_reaches_the_collector_and_its_answer_comes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let (heard, mut told) = mpsc::unbounded_channel();
    tokio::spawn(collector(listener, heard));
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kuma-otel-main.sock");
    let document = json!({"backends": [{"name": "main", "socketPath": socket, "endpoint": endpoint, "useHTTP": false,
        "traces": {"enabled": true}, "logs": {"enabled": true, "blockedReasons": ["RequiredEnvMissing"]}}]});
    let shared = SharedPlan::default();
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(Arc::clone(&shared), scraper(), stop.clone()));
    shared.send_replace(Arc::new(plan(document)));

    let envoy = Channel::to_socket(socket.to_str().unwrap());
    let answer = loop {
        match envoy.send(Signal::Traces, grpc::frame(b"spans")).await {
            Ok(answer) => break answer,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(told.recv().await.unwrap(), (Signal::Traces.method().to_owned(), grpc::frame(b"spans")));
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap()[&grpc::STATUS], "0");
    assert_eq!(body.to_bytes(), grpc::frame(b"ok"));

    for (signal, why) in [(Signal::Logs, "blocked%3A%20RequiredEnvMissing"), (Signal::Metrics, "not%20enabled")] {
        let refused = envoy.send(signal, grpc::frame(b"x")).await.unwrap().into_body().collect().await.unwrap();
        let trailers = refused.trailers().unwrap();
        assert_eq!(trailers[&grpc::STATUS], "9");
        assert!(trailers[&grpc::MESSAGE].to_str().unwrap().contains(why), "{trailers:?}");
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_collector_that_speaks_http_gets_the_bare_message() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let (heard, mut told) = mpsc::unbounded_channel();
    let app = axum::Router::new().route(
        "/base/v1/logs",
        axum::routing::post(async move |body: Bytes| {
            heard.send(body).unwrap();
            (axum::http::StatusCode::TOO_MANY_REQUESTS, "slow down")
        }),
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    let plan = plan(json!({"backends": [{"endpoint": endpoint, "useHTTP": true, "path": "/base/"}]}));
    let channel = Channel::to(&plan.backends[0]).unwrap();
    let failure = channel.send(Signal::Logs, grpc::frame(b"lines")).await.unwrap_err();
    assert_eq!(failure.message, "collector returned status 429: slow down");
    assert_eq!(told.recv().await.unwrap(), "lines");
}

#[test]
fn plans_say_what_is_sent() {
    let plan = plan(json!({"backends": [{"name": "a", "endpoint": ":4317", "useHTTP": true, "useHTTPS": true,
        "traces": {"enabled": true, "blockedReasons": ["EnvDisabledByPolicy"]},
        "logs": {"enabled": true, "missingFields": ["endpoint"]},
        "metrics": {"enabled": true, "refreshInterval": "30s", "blockedReasons": ["MultipleBackendsForSignal"]}}]}));
    let backend = &plan.backends[0];
    assert_eq!(backend.refusal(Signal::Traces), None);
    assert_eq!(backend.refusal(Signal::Logs).as_deref(), Some("blocked: endpoint"));
    assert_eq!(backend.refusal(Signal::Metrics), None);
    assert_eq!(backend.metrics_interval(), None, "two collectors of metrics are ambiguous");
    assert!(
        backend.url(Signal::Traces).starts_with("https://") && backend.url(Signal::Traces).ends_with(":4317/v1/traces")
    );
}

#[test]
fn families_become_messages() {
    let sample = |name: &str, labels: &[(&str, &str)], value: f64| Sample {
        name: name.to_owned(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        value,
        timestamp: None,
    };
    let scope = [("otel_scope_name", "kuma"), ("otel_scope_version", "3")];
    let lines = [("h_bucket", "10", 3.0), ("h_bucket", "+Inf", 4.0), ("h_bucket", "0.5", 1.0)]
        .map(|(name, le, value)| sample(name, &[scope[0], scope[1], ("le", le)], value));
    let rest = [sample("h_sum", &scope, 20.5), sample("h_count", &scope, 4.0)];
    let family = |name: &str, kind, samples| Family { name: name.to_owned(), help: None, kind, samples };
    let families = vec![
        family("h", FamilyKind::Histogram, lines.into_iter().chain(rest).collect()),
        family("c", FamilyKind::Counter, vec![sample("c", &[scope[0], scope[1], ("b", "2"), ("a", "1")], 7.0)]),
        family("u", FamilyKind::Untyped, vec![sample("u", &[], 1.0)]),
    ];
    let bytes = request(families, 5).encode_to_vec();
    let read = ExportMetricsServiceRequest::decode(bytes.as_slice()).unwrap();
    let scopes = &read.resource_metrics[0].scope_metrics;
    assert_eq!(scopes.len(), 1);
    assert_eq!(scopes[0].scope.as_ref().unwrap().name, "kuma");
    let [h, c] = scopes[0].metrics.as_slice() else { panic!("{scopes:?}") };
    let Some(Data::Histogram(histogram)) = &h.data else { panic!("{h:?}") };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum, point.time_unix_nano), (4, Some(20.5), 5));
    assert_eq!((&*point.explicit_bounds, &*point.bucket_counts), (&[0.5, 10.0][..], &[1, 2, 1][..]));
    let Some(Data::Sum(sum)) = &c.data else { panic!("{c:?}") };
    let keys: Vec<_> = sum.data_points[0].attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!((sum.is_monotonic, keys), (true, vec!["a", "b"]));
}
