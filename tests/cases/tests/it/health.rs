//! What Envoy is asked to check. The inputs are not part of the cases, so those are run that are known.

use std::time::Duration;

use cases::{Tally, family_dir};
use model::kinds::dataplane::Dataplane;
use serde_json::{Value, json};
use xds::bootstrap::ProxyMetadata;
use xds::health::{HealthSettings, specifier};
use xds::json::to_json;

use crate::documents::{compare, yaml};

const FLOOR: usize = 2;

/// What the cases differ in: the address of the workload, redirection, and the admin socket.
const CASES: [(&str, &str, bool, &str); 2] =
    [("hds.3", "127.0.0.1", true, ""), ("hds.7", "192.168.0.1", false, "/tmp/kuma-dp-1234/kuma-envoy-admin.sock")];

fn dataplane(service_address: &str, is_redirected: bool) -> Dataplane {
    let mut spec = json!({"networking": {"address": "10.20.0.1", "inbound": [
        {"port": 9000, "servicePort": 80, "serviceAddress": service_address, "serviceProbe": {"tcp": {}}}]}});
    if is_redirected {
        spec["networking"]["transparentProxying"] =
            json!({"redirectPortInbound": 15006, "redirectPortOutbound": 15001});
    }
    serde_json::from_value(spec).expect("a Dataplane")
}

#[test]
fn proxies_check_what_kumas_check() {
    let Some(dir) = family_dir("hds") else { return };
    let settings = HealthSettings {
        report_interval: Duration::from_secs(8),
        timeout: Duration::from_secs(3),
        interval: Duration::from_secs(1),
        no_traffic_interval: Duration::from_secs(2),
        healthy_threshold: 4,
        unhealthy_threshold: 5,
    };
    let mut tally = Tally::default();
    for (case, service_address, is_redirected, socket) in CASES {
        let metadata =
            ProxyMetadata { admin_port: 9901, admin_socket_path: socket.to_owned(), ..ProxyMetadata::default() };
        let made = to_json(&specifier(&dataplane(service_address, is_redirected), &metadata, &settings));
        let golden: Value = yaml(&dir.join(format!("{case}.golden.yaml")));
        tally.record(case, made.map_err(|e| e.to_string()).and_then(|made| compare(&made, &golden)));
    }
    tally.finish("hds", FLOOR);
}
