//! What is told of what was scraped.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::conversion::convert;
use super::exposition::{number, parse, write};
use super::profile::{Selection, Sidecar};
use super::{Scraper, clusters, hijacker};
use crate::envoy::admin::{AdminAddress, AdminClient};

const ENVOY: &str = "\
# TYPE envoy_cluster_upstream_rq counter
envoy_cluster_upstream_rq{envoy_cluster_name=\"web\"} 3
envoy_cluster_upstream_rq{envoy_cluster_name=\"system_ads\"} 9

# TYPE envoy_cluster_lb_zone_number_differs gauge
envoy_cluster_lb_zone_number_differs{envoy_cluster_name=\"web\"} 1

# TYPE envoy_cluster_upstream_cx_length_ms histogram
envoy_cluster_upstream_cx_length_ms_bucket{envoy_cluster_name=\"web\",le=\"0.5\"} 0
envoy_cluster_upstream_cx_length_ms_bucket{envoy_cluster_name=\"web\",le=\"+Inf\"} 2
envoy_cluster_upstream_cx_length_ms_sum{envoy_cluster_name=\"web\"} 12.5
envoy_cluster_upstream_cx_length_ms_count{envoy_cluster_name=\"web\"} 2
";

fn names(sidecar: serde_json::Value) -> Vec<String> {
    let sidecar: Sidecar = serde_json::from_value(sidecar).unwrap();
    let families = Selection::of(&sidecar).apply(parse(ENVOY).unwrap());
    families.into_iter().map(|family| family.name).collect()
}

#[test]
fn what_is_read_is_written_again() {
    assert_eq!(write(&parse(ENVOY).unwrap()), ENVOY.replace("\n\n", "\n"));
    let odd = "# HELP a Some help.\n# TYPE a gauge\na{x=\"q\\\"b\\\\n\\n\"} 1.5 1700000000000\na NaN\n";
    assert_eq!(write(&parse(odd).unwrap()), odd);
    for (text, message) in [
        ("a", "line 1: expected a value after the name"),
        ("\na{x=\"1} 2", "line 2: expected a closing quote"),
        ("a{} b", "line 1: expected a number"),
        ("# TYPE a thing", "line 1: expected a known type"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn numbers_are_written_as_go_writes_them() {
    let numbers = [
        (0.0, "0"),
        (999_999.0, "999999"),
        (12_656_064.0, "1.2656064e+07"),
        (0.00005, "5e-05"),
        (0.25, "0.25"),
        (f64::NEG_INFINITY, "-Inf"),
    ];
    for (value, text) in numbers {
        assert_eq!(number(value), text);
    }
}

#[test]
fn profiles_select_families_and_exceptions_win() {
    let basic = ["envoy_cluster_upstream_rq", "envoy_cluster_upstream_cx_length_ms"];
    assert_eq!(names(json!({})), basic, "Basic when nothing is said");
    let profiles = |profiles: serde_json::Value| names(json!({"profiles": profiles}));
    assert_eq!(profiles(json!({"appendProfiles": [{"name": "Basic"}, {"name": "All"}]})).len(), 3);
    let none = json!({"appendProfiles": [{"name": "None"}], "include": [{"type": "Contains", "match": "zone"}]});
    assert_eq!(profiles(none), ["envoy_cluster_lb_zone_number_differs"]);
    let regex = json!({"exclude": [{"type": "Regex", "match": "^envoy_cluster_upstream_.*"}],
        "include": [{"type": "Exact", "match": "envoy_cluster_upstream_rq"}]});
    assert_eq!(profiles(regex), ["envoy_cluster_upstream_rq"]);
}

#[test]
fn basic_does_not_tell_of_internal_parts() {
    let families = Selection::of(&Sidecar::default()).apply(parse(ENVOY).unwrap());
    assert!(!write(&families).contains("system_ads"));
}

#[test]
fn clones_of_a_cluster_are_one() {
    let mut families = parse(
        "# TYPE envoy_cluster_upstream_rq counter\n\
         envoy_cluster_upstream_rq{envoy_cluster_name=\"web-0382aaf295add2eb\"} 1\n\
         envoy_cluster_upstream_rq{envoy_cluster_name=\"web-fe04929f294bcdea\"} 2\n\
         envoy_cluster_upstream_rq{envoy_cluster_name=\"kuma_envoy_admin\"} 4\n",
    )
    .unwrap();
    clusters::merge(&mut families);
    assert_eq!(
        write(&families),
        "# TYPE envoy_cluster_upstream_rq counter\n\
         envoy_cluster_upstream_rq{envoy_cluster_name=\"web\",kuma_io_mesh_traffic=\"true\"} 3\n\
         envoy_cluster_upstream_rq{envoy_cluster_name=\"kuma_envoy_admin\"} 4\n"
    );
}

#[test]
fn summaries_become_gauges_and_counters() {
    let scraped = parse(
        "# TYPE s summary\ns{quantile=\"0.5\"} 2\ns_sum 7\ns_count 3\n\
         # TYPE o gauge\no{otel_scope_name=\"lib\"} 1\nuntyped 1\n",
    )
    .unwrap();
    let labels = BTreeMap::from([("kuma.workload".to_owned(), "web".to_owned())]);
    let scope = "otel_scope_name=\"kuma\",otel_scope_version=\"3\",kuma_workload=\"web\"";
    assert_eq!(
        write(&convert(scraped, &labels, "3")),
        format!(
            "# TYPE s gauge\ns{{quantile=\"0.5\",{scope}}} 2\n# TYPE s_count counter\ns_count{{{scope}}} 3\n\
             # TYPE s_sum counter\ns_sum{{{scope}}} 7\n# TYPE o gauge\no{{otel_scope_name=\"lib\",kuma_workload=\"web\"}} 1\n"
        )
    );
}

/// Answers every path with a text that names it.
async fn target(listener: TcpListener) {
    let app = Router::new().route("/app/metrics", get(async || "# TYPE app_requests counter\napp_requests 5\n"));
    axum::serve(listener, app).await.unwrap();
}

#[tokio::test]
async fn envoy_and_workloads_are_told_together() {
    let dir = tempfile::tempdir().unwrap();
    let admin = dir.path().join("admin.sock");
    let asked = tokio::sync::watch::Sender::new(String::new());
    let seen = asked.clone();
    let envoy = Router::new().route(
        "/stats",
        get(async move |uri: axum::http::Uri| {
            seen.send_replace(uri.query().unwrap_or_default().to_owned());
            ENVOY
        }),
    );
    let listener = UnixListener::bind(&admin).unwrap();
    tokio::spawn(async move { axum::serve(listener, envoy).await });
    let workload = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = workload.local_addr().unwrap().port();
    tokio::spawn(target(workload));

    let document = json!({"observability": {"metrics": {
        "applications": [{"path": "app/metrics", "port": port, "address": ""}, {"path": "/none", "port": port}],
        "backends": null, "extraLabels": {"mesh": "default"}}}});
    let config = Config::parse(document.to_string().as_bytes()).unwrap().shared();
    let address = AdminAddress::Socket(admin.display().to_string());
    let client = AdminClient::new(&address, std::time::Duration::from_secs(20)).unwrap();
    let scraper = Arc::new(Scraper::new(Some(client), "127.0.0.1", false, config, "3.0.0").unwrap());

    let (socket, stop) = (dir.path().join("hijacker.sock"), CancellationToken::new());
    std::fs::write(&socket, "left behind").unwrap();
    let serving = tokio::spawn({
        let (socket, stop) = (socket.clone(), stop.clone());
        async move { hijacker::serve(scraper, &socket, stop).await }
    });
    let http = crate::http::client_builder().unix_socket(socket.as_path()).build().unwrap();
    let answer = loop {
        match http.get("http://localhost/meshmetric").send().await {
            Ok(answer) => break answer,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = answer.text().await.unwrap();
    assert!(text.contains("app_requests{otel_scope_name=\"kuma\",otel_scope_version=\"3.0.0\",mesh=\"default\"} 5\n"));
    assert!(text.contains("envoy_cluster_upstream_rq{envoy_cluster_name=\"web\""), "{text}");
    assert!(!text.contains("system_ads"), "{text}");
    assert_eq!(*asked.borrow(), "format=prometheus&text_readouts=&usedonly=");

    let all = http.get("http://localhost/?filter=x").send().await.unwrap().text().await.unwrap();
    assert!(all.contains("kuma_io_mesh_traffic=\"true\""), "{all}");
    assert_eq!(*asked.borrow(), "filter=x&format=prometheus&text_readouts=");
    stop.cancel();
    serving.await.unwrap().unwrap();
}
