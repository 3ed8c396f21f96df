//! The Envoy bootstrap, in the canonical JSON of its protobuf message.

use std::collections::BTreeSet;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::kinds::dataplane::Dataplane;
use serde_json::{Map, Value, json};

use super::request::BootstrapRequest;

/// What the control plane decides of a bootstrap (`bootstrapServer.params` and `dpServer` of its
/// configuration, and facts of the request).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapParams {
    /// TCP address of Envoy's admin.
    pub admin_address: String,
    /// Port of Envoy's admin when the Dataplane does not say; 0: no admin.
    pub admin_port: u32,
    /// Whether the admin listens on a unix socket instead.
    pub admin_unix_socket: bool,
    /// Where the admin logs accesses.
    pub admin_access_log_path: String,
    /// Host to which Envoy connects, and which the server's certificate must carry.
    pub xds_host: String,
    /// Its port.
    pub xds_port: u16,
    /// Connect timeout, in milliseconds.
    pub xds_connect_timeout_ms: u64,
    /// Longest message that Envoy's Google gRPC client takes, in bytes.
    pub xds_grpc_max_receive_message_bytes: u32,
    /// Whether the host is known to have no IPv6 address.
    pub xds_host_is_ipv4_only: bool,
    /// Whether Envoy should report health by HDS.
    pub hds_enabled: bool,
    /// Whether Envoy reads the token from its file for each connection.
    pub reloadable_tokens: bool,
    /// PEM of the CA of the control plane.
    pub ca_pem: String,
}

/// What the bootstrap needs of the Dataplane.
#[derive(Clone, Copy, Debug)]
pub struct Proxy<'a> {
    /// Its spec.
    pub dataplane: &'a Dataplane,
    /// Its label `kuma.io/workload`.
    pub workload: Option<&'a str>,
    /// Its text in JSON, when the proxy brought it along.
    pub resource: Option<&'a str>,
}

const ADS_CLUSTER: &str = "system_ads";
const ACCESS_LOG_CLUSTER: &str = "system_access_log_sink";
const VALIDATION_SECRET: &str = "cp_validation_ctx";
const TOKEN_PLUGIN: &str = "envoy.grpc_credentials.file_based_metadata";

/// Longest path before the suffix of a socket, in bytes: what the kernel takes is 108.
const SOCKET_PATH_LEN_MAX: usize = 98;

/// The bootstrap of one proxy.
pub fn generate(request: &BootstrapRequest, proxy: &Proxy<'_>, params: &BootstrapParams) -> Value {
    let admin = Admin::of(request, proxy, params);
    let grpc = grpc_service(request, params);
    let mut bootstrap = json!({
        "node": {
            "id": format!("{}.{}", request.mesh, request.name),
            "cluster": proxy.workload.unwrap_or("unknown"),
            "metadata": node_metadata(request, proxy, &admin),
        },
        "defaultRegexEngine": {
            "name": "envoy.regex_engines.google_re2",
            "typedConfig": {"@type": "type.googleapis.com/envoy.extensions.regex_engines.v3.GoogleRE2"},
        },
        "dynamicResources": {
            "ldsConfig": {"ads": {}, "initialFetchTimeout": "0s", "resourceApiVersion": "V3"},
            "cdsConfig": {"ads": {}, "initialFetchTimeout": "0s", "resourceApiVersion": "V3"},
            "adsConfig": api_config("DELTA_GRPC", &grpc),
        },
        "layeredRuntime": {"layers": [{
            "name": "kuma",
            "staticLayer": {"re2.max_program_size.error_level": 4_294_967_295_u32, "re2.max_program_size.warn_level": 1000},
        }]},
        "statsConfig": {"statsTags": [
            {"tagName": "name", "regex": r"^grpc\.((.+)\.)"},
            {"tagName": "status", "regex": r"^grpc.*streams_closed(_([0-9]+))"},
            {"tagName": "worker", "regex": r"(worker_([0-9]+)\.)"},
            {"tagName": "listener", "regex": r"((.+?)\.)rbac\."},
        ]},
        "staticResources": {
            "secrets": [validation_secret(params)],
            "clusters": clusters(request, params),
        },
    });
    if let Some(address) = admin.envoy_address() {
        bootstrap["admin"] = json!({
            "accessLog": [{"name": "envoy.access_loggers.file", "typedConfig": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": params.admin_access_log_path,
            }}],
            "address": address,
        });
    }
    if params.hds_enabled {
        bootstrap["hdsConfig"] = api_config("GRPC", &grpc);
    }
    bootstrap
}

/// Envoy's admin.
struct Admin<'a> {
    port: u32,
    address: &'a str,
    socket: Option<String>,
}

impl<'a> Admin<'a> {
    fn of(request: &BootstrapRequest, proxy: &Proxy<'_>, params: &'a BootstrapParams) -> Self {
        let of_dataplane = proxy.dataplane.networking.as_ref().and_then(|networking| networking.admin.as_ref());
        let port = of_dataplane.map_or(params.admin_port, |admin| admin.port);
        let socket = (port != 0 && params.admin_unix_socket && !request.workdir.is_empty())
            .then(|| socket_path(&request.workdir, "kuma-envoy-admin"));
        Self { port, address: &params.admin_address, socket }
    }

    fn envoy_address(&self) -> Option<Value> {
        match &self.socket {
            _ if self.port == 0 => None,
            Some(path) => Some(json!({"pipe": {"path": path, "mode": 0o600}})),
            None => Some(json!({"socketAddress": {"address": self.address, "portValue": self.port}})),
        }
    }
}

fn node_metadata(request: &BootstrapRequest, proxy: &Proxy<'_>, admin: &Admin<'_>) -> Value {
    let mut metadata = Map::new();
    let mut text = |key: &str, value: &str| metadata.insert(key.to_owned(), Value::from(value));
    text("dataplane.proxyType", "dataplane");
    if let Some(resource) = proxy.resource {
        text("dataplane.resource", resource);
    }
    if admin.port != 0 {
        text("dataplane.admin.port", &admin.port.to_string());
        text("dataplane.admin.address", admin.address);
    }
    if let Some(path) = &admin.socket {
        text("dataplane.admin.socketPath", path);
    }
    if request.readiness_port != 0 {
        text("dataplane.readinessReporter.port", &request.readiness_port.to_string());
    }
    if request.dns_port != 0 {
        text("dataplane.dns.port", &request.dns_port.to_string());
    }
    if request.app_probe_proxy_enabled {
        text("dataplane.appProbeProxy.enabled", "true");
    }
    text("workdir", &request.workdir);
    text("metricsCertPath", &request.metrics_resources.cert_path);
    text("metricsKeyPath", &request.metrics_resources.key_path);
    text("systemCaPath", &request.system_ca_path);
    text("spireAgent.socketPath", &request.spire_resources.socket_path);
    let mut document = |key: &str, value: Value| metadata.insert(key.to_owned(), value);
    document("ipv6Enabled", json!(request.ipv6_enabled));
    document("features", json!(unique(&request.features)));
    document("version", json!(request.version));
    if let Some(transparent_proxy) = &request.dataplane_config {
        document("transparentProxy", json!(transparent_proxy));
    }
    if let Some(inventory) = &request.otel_env {
        document("otelEnvInventory", json!(inventory));
    }
    if !request.dynamic_metadata.is_empty() {
        document("dynamicMetadata", json!(request.dynamic_metadata));
    }
    Value::Object(metadata)
}

/// The flags in the order in which they came, each once.
fn unique(features: &[String]) -> Vec<&String> {
    let mut seen = BTreeSet::new();
    features.iter().filter(|feature| seen.insert(feature.as_str())).collect()
}

fn api_config(api_type: &str, grpc_service: &Value) -> Value {
    json!({
        "apiType": api_type,
        "transportApiVersion": "V3",
        "setNodeOnFirstMessageOnly": true,
        "grpcServices": [grpc_service],
    })
}

/// Whether Envoy reads the token from its file; then its Google gRPC client connects on its own.
fn reads_token_file(request: &BootstrapRequest, params: &BootstrapParams) -> bool {
    params.reloadable_tokens && !request.dataplane_token_path.is_empty()
}

fn grpc_service(request: &BootstrapRequest, params: &BootstrapParams) -> Value {
    if reads_token_file(request, params) {
        let number = |value: u64| json!({"intValue": value.to_string()});
        return json!({"googleGrpc": {
            "targetUri": format!("{}:{}", params.xds_host, params.xds_port),
            "statPrefix": "ads",
            "credentialsFactoryName": TOKEN_PLUGIN,
            "callCredentials": [{"fromPlugin": {"name": TOKEN_PLUGIN, "typedConfig": {
                "@type": "type.googleapis.com/envoy.config.grpc_credential.v3.FileBasedMetadataConfig",
                "secretData": {"filename": request.dataplane_token_path},
            }}}],
            "channelCredentials": {"sslCredentials": {"rootCerts": {"inlineBytes": base64(params.ca_pem.as_bytes())}}},
            "channelArgs": {"args": {
                "grpc.keepalive_time_ms": number(10_000),
                "grpc.keepalive_timeout_ms": number(30_000),
                "grpc.http2.max_pings_without_data": number(0),
                "grpc.max_receive_message_length": number(u64::from(params.xds_grpc_max_receive_message_bytes)),
            }},
        }});
    }
    let mut service = json!({"envoyGrpc": {"clusterName": ADS_CLUSTER}});
    if !request.dataplane_token.is_empty() {
        service["initialMetadata"] = json!([{"key": "authorization", "value": request.dataplane_token}]);
    }
    service
}

fn validation_secret(params: &BootstrapParams) -> Value {
    let exact = |san_type: &str| json!({"sanType": san_type, "matcher": {"exact": params.xds_host}});
    json!({
        "name": VALIDATION_SECRET,
        "validationContext": {
            "matchTypedSubjectAltNames": [exact("DNS"), exact("IP_ADDRESS")],
            "trustedCa": {"inlineBytes": base64(params.ca_pem.as_bytes())},
        },
    })
}

fn clusters(request: &BootstrapRequest, params: &BootstrapParams) -> Vec<Value> {
    let name = format!("kuma-al-{}-{}", request.name, request.mesh);
    let pipe = json!({"pipe": {"path": socket_path(&request.workdir, &name)}});
    let mut clusters = vec![cluster(ACCESS_LOG_CLUSTER, "STATIC", params, &pipe)];
    if !reads_token_file(request, params) {
        clusters.push(ads_cluster(params));
    }
    clusters
}

fn ads_cluster(params: &BootstrapParams) -> Value {
    let is_ip = params.xds_host.parse::<IpAddr>().is_ok();
    let address = json!({"socketAddress": {"address": params.xds_host, "portValue": params.xds_port}});
    let mut cluster = cluster(ADS_CLUSTER, if is_ip { "STATIC" } else { "STRICT_DNS" }, params, &address);
    if !is_ip && params.xds_host_is_ipv4_only {
        cluster["dnsLookupFamily"] = json!("V4_ONLY");
    }
    cluster["transportSocket"] = json!({
        "name": "envoy.transport_sockets.tls",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": params.xds_host,
            "commonTlsContext": {
                "tlsParams": {"tlsMinimumProtocolVersion": "TLSv1_2"},
                "validationContextSdsSecretConfig": {"name": VALIDATION_SECRET},
            },
        },
    });
    cluster
}

fn cluster(name: &str, discovery: &str, params: &BootstrapParams, address: &Value) -> Value {
    json!({
        "name": name,
        "type": discovery,
        "connectTimeout": duration(params.xds_connect_timeout_ms),
        "upstreamConnectionOptions": {
            "tcpKeepalive": {"keepaliveProbes": 3, "keepaliveTime": 10, "keepaliveInterval": 10},
        },
        "loadAssignment": {
            "clusterName": name,
            "endpoints": [{"lbEndpoints": [{"endpoint": {"address": address}}]}],
        },
        "typedExtensionProtocolOptions": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicitHttpConfig": {"http2ProtocolOptions": {}},
        }},
    })
}

/// `<workdir>/<name>.sock`, cut before the suffix to what the kernel takes.
fn socket_path(workdir: &str, name: &str) -> String {
    let mut path =
        if workdir.is_empty() { name.to_owned() } else { format!("{}/{name}", workdir.trim_end_matches('/')) };
    let mut len = path.len().min(SOCKET_PATH_LEN_MAX);
    while !path.is_char_boundary(len) {
        len -= 1;
    }
    path.truncate(len);
    path + ".sock"
}

/// A protobuf duration in JSON: `1s`, `0.250s`.
fn duration(milliseconds: u64) -> String {
    match (milliseconds / 1000, milliseconds % 1000) {
        (seconds, 0) => format!("{seconds}s"),
        (seconds, rest) => format!("{seconds}.{rest:03}s"),
    }
}

/// Bytes, as protobuf's JSON has them.
fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::ProxyMetadata;

    fn params() -> BootstrapParams {
        BootstrapParams {
            admin_address: "127.0.0.1".to_owned(),
            admin_port: 9901,
            admin_unix_socket: true,
            admin_access_log_path: "/dev/null".to_owned(),
            xds_host: "cp.example.com".to_owned(),
            xds_port: 5678,
            xds_connect_timeout_ms: 1000,
            xds_grpc_max_receive_message_bytes: 4_194_304,
            xds_host_is_ipv4_only: true,
            hds_enabled: true,
            reloadable_tokens: false,
            ca_pem: "PEM".to_owned(),
        }
    }

    fn request() -> BootstrapRequest {
        serde_json::from_value(json!({
            "mesh": "default", "name": "web-1", "dataplaneToken": "t0ken", "dataplaneTokenPath": "/token",
            "workdir": "/run/dp", "readinessPort": 9902, "dnsPort": 15053, "features": ["feature-reuse-port"],
            "dynamicMetadata": null, "resources": {"maxHeapSizeBytes": 1}, "unknown": {},
        }))
        .unwrap()
    }

    fn generated(params: &BootstrapParams) -> Value {
        let dataplane = Dataplane::default();
        generate(&request(), &Proxy { dataplane: &dataplane, workload: None, resource: None }, params)
    }

    #[test]
    fn the_node_introduces_itself_with_what_the_control_plane_reads() {
        let bootstrap = generated(&params());
        assert_eq!(bootstrap["node"]["id"], "default.web-1");
        assert_eq!(bootstrap["node"]["cluster"], "unknown");
        let metadata = ProxyMetadata::parse(&bootstrap["node"]["metadata"]).unwrap();
        assert_eq!((metadata.admin_port, metadata.readiness_port, metadata.dns_port), (9901, 9902, 15053));
        assert_eq!(metadata.admin_socket_path, "/run/dp/kuma-envoy-admin.sock");
        assert_eq!(bootstrap["admin"]["address"]["pipe"]["mode"], 384);
    }

    #[test]
    fn an_admin_without_work_directory_listens_on_tcp_and_one_without_port_not_at_all() {
        let mut request = request();
        request.workdir.clear();
        let dataplane = Dataplane::default();
        let proxy = Proxy { dataplane: &dataplane, workload: Some("web"), resource: None };
        let bootstrap = generate(&request, &proxy, &params());
        assert_eq!(bootstrap["admin"]["address"]["socketAddress"]["portValue"], 9901);
        let none = generate(&request, &proxy, &BootstrapParams { admin_port: 0, ..params() });
        assert!(none.get("admin").is_none());
        assert!(none["node"]["metadata"].get("dataplane.admin.port").is_none());
    }

    #[test]
    fn a_reloadable_token_replaces_the_cluster_by_a_client_of_its_own() {
        let by_value = generated(&params());
        assert_eq!(
            by_value["dynamicResources"]["adsConfig"]["grpcServices"][0]["initialMetadata"][0]["value"],
            "t0ken"
        );
        assert_eq!(by_value["staticResources"]["clusters"].as_array().unwrap().len(), 2);
        let by_file = generated(&BootstrapParams { reloadable_tokens: true, hds_enabled: false, ..params() });
        let service = &by_file["dynamicResources"]["adsConfig"]["grpcServices"][0];
        assert_eq!(service["googleGrpc"]["targetUri"], "cp.example.com:5678");
        assert!(service.get("initialMetadata").is_none());
        assert_eq!(by_file["staticResources"]["clusters"].as_array().unwrap().len(), 1);
        assert!(by_file.get("hdsConfig").is_none());
    }

    #[test]
    fn addresses_are_not_looked_up() {
        let bootstrap = generated(&BootstrapParams { xds_host: "10.0.0.1".to_owned(), ..params() });
        let ads = &bootstrap["staticResources"]["clusters"][1];
        assert_eq!(ads["type"], "STATIC");
        assert!(ads.get("dnsLookupFamily").is_none());
        assert_eq!(generated(&params())["staticResources"]["clusters"][1]["dnsLookupFamily"], "V4_ONLY");
    }

    #[test]
    fn long_socket_paths_are_cut() {
        let path = socket_path(&"/d".repeat(60), "x");
        assert_eq!(path.len(), 98 + 5);
        assert_eq!(duration(1500), "1.500s");
    }
}
