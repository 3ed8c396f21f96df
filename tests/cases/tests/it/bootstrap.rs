//! The Envoy bootstraps that Kuma generates for two proxies.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cases::{Tally, family_dir};
use model::kinds::dataplane::Dataplane;
use serde_json::{Value, json};
use xds::bootstrap::{BootstrapParams, BootstrapRequest, Proxy, generate};

const FLOOR: usize = 2;

/// What a case starts from.
struct Case {
    file: &'static str,
    request: Value,
    dataplane: Value,
}

fn cases() -> Vec<Case> {
    let version = json!({
        "kumaDp": {
            "version": "0.0.1", "gitTag": "v0.0.1", "gitCommit": "91ce236824a9d875601679aa80c63783fb0e8725",
            "buildDate": "2019-08-07T11:26:06Z",
        },
        "envoy": {"version": "1.15.0", "build": "hash/1.15.0/RELEASE"},
    });
    vec![
        Case {
            file: "generator.default-config-minimal-request.golden.yaml",
            request: json!({"mesh": "mesh", "name": "name.namespace", "workdir": "/tmp", "version": version}),
            dataplane: json!({"networking": {
                "address": "8.8.8.8", "inbound": [{"port": 443, "servicePort": 8443}], "admin": {},
            }}),
        },
        Case {
            file: "bootstrap.overridden.golden.yaml",
            request: json!({
                "mesh": "default", "name": "dp-1.default", "dataplaneToken": "token", "workdir": "/tmp",
                "version": version,
            }),
            dataplane: json!({"networking": {"address": "8.8.8.8", "admin": {"port": 1234}}}),
        },
    ]
}

fn run(dir: &Path, case: &Case) -> Result<(), String> {
    let text = std::fs::read_to_string(dir.join(case.file)).map_err(|e| e.to_string())?;
    let expected: Value = serde_saphyr::from_str(&text).map_err(|e| e.to_string())?;
    let ca = expected["staticResources"]["secrets"][0]["validationContext"]["trustedCa"]["inlineBytes"].clone();
    let ca = STANDARD.decode(ca.as_str().unwrap_or_default()).map_err(|e| e.to_string())?;
    let params = BootstrapParams {
        admin_address: "127.0.0.1".to_owned(),
        admin_port: 9901,
        admin_unix_socket: false,
        admin_access_log_path: "/dev/null".to_owned(),
        xds_host: "localhost".to_owned(),
        xds_port: 5678,
        xds_connect_timeout_ms: 1000,
        xds_grpc_max_receive_message_bytes: 4_194_304,
        xds_host_is_ipv4_only: false,
        hds_enabled: true,
        reloadable_tokens: false,
        ca_pem: String::from_utf8(ca).map_err(|e| e.to_string())?,
    };
    let request: BootstrapRequest = serde_json::from_value(case.request.clone()).map_err(|e| e.to_string())?;
    let dataplane: Dataplane = serde_json::from_value(case.dataplane.clone()).map_err(|e| e.to_string())?;
    let proxy = Proxy { dataplane: &dataplane, workload: Some("backend"), resource: None };
    let actual = generate(&request, &proxy, &params);
    if actual == expected {
        return Ok(());
    }
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    Err(format!("differs\n--- expected\n{}\n--- actual\n{}", pretty(&expected), pretty(&actual)))
}

#[test]
fn bootstraps_are_those_of_kuma() {
    let Some(dir) = family_dir("bootstrap") else { return };
    let mut tally = Tally::default();
    for case in cases() {
        tally.record(case.file, run(&dir, &case));
    }
    tally.finish("bootstrap", FLOOR);
}
