//! What the traffic and observability policies refuse.

use serde_json::{Value, json};

use super::faults::check;

fn to_mesh(conf: Value) -> Value {
    json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": conf}]})
}

#[test]
fn circuit_breakers() {
    check(
        "MeshCircuitBreaker",
        &[
            (to_mesh(json!({"connectionLimits": {"maxConnections": 1}})), ""),
            (json!({}), "spec: at least one of 'to' or 'rules' has to be defined"),
            (
                json!({"rules": [{"default": {}}]}),
                "spec.from[0].default: at least one of: 'connectionLimits' or 'outlierDetection' should be configured",
            ),
            (
                to_mesh(json!({"connectionLimits": {"maxRetries": 0}, "outlierDetection": {"disabled": true}})),
                "spec.to[0].default.connectionLimits.maxRetries: must be greater than 0; \
                 spec.to[0].default.outlierDetection.detectors: must be defined",
            ),
            (
                to_mesh(
                    json!({"outlierDetection": {"interval": "0s", "maxEjectionPercent": 101, "healthyPanicThreshold": "x", "detectors": {}}}),
                ),
                "spec.to[0].default.outlierDetection.interval: must be greater than zero when defined; \
                 spec.to[0].default.outlierDetection.maxEjectionPercent: must be in inclusive range [0, 100]; \
                 spec.to[0].default.outlierDetection.healthyPanicThreshold: string must be a valid number; \
                 spec.to[0].default.outlierDetection.detectors: must have at least one defined: totalFailures, gatewayFailures, localOriginFailures, successRate, failurePercentage",
            ),
            (
                to_mesh(
                    json!({"outlierDetection": {"detectors": {"successRate": {"standardDeviationFactor": "-1"}, "failurePercentage": {"threshold": 101}}}}),
                ),
                "spec.to[0].default.outlierDetection.detectors.successRate.standardDeviationFactor: must be greater than 0; \
                 spec.to[0].default.outlierDetection.detectors.failurePercentage.threshold: must be in inclusive range [0, 100]",
            ),
        ],
    );
}

#[test]
fn retries() {
    check(
        "MeshRetry",
        &[
            (json!({}), ""),
            (to_mesh(json!({"http": {"retryOn": ["5xx", "HttpMethodGet", "503"]}})), ""),
            (
                to_mesh(json!({})),
                "spec.to[0].default.conf: at least one of the 'tcp', 'http', 'grpc' must be specified",
            ),
            (
                to_mesh(
                    json!({"tcp": {}, "http": {"hostSelectionMaxAttempts": 1}, "grpc": {"backOff": {}, "rateLimitedBackOff": {}}}),
                ),
                "spec.to[0].default.conf.tcp: must not be empty; \
                 spec.to[0].default.conf.http: must not be empty; \
                 spec.to[0].default.conf.grpc.backOff: must not be empty; \
                 spec.to[0].default.conf.grpc.rateLimitedBackOff.resetHeaders: must be defined",
            ),
            (
                to_mesh(
                    json!({"http": {"retryOn": ["5XX", "952"], "hostSelection": [{"predicate": "OmitHostsWithTags"},
                    {"predicate": "OmitPreviousPriorities", "updateFrequency": 0}, {"predicate": "OmitPreviousPriorities"}]}}),
                ),
                "spec.to[0].default.conf.http.retryOn[0]: unknown item '5XX'; \
                 spec.to[0].default.conf.http.retryOn[1]: unknown item '952'; \
                 spec.to[0].default.conf.http.hostSelection[0].tags: must be defined; \
                 spec.to[0].default.conf.http.hostSelection[1].updateFrequency: must be defined and greater than zero; \
                 spec.to[0].default.conf.http.hostSelection[2].predicate: OmitPreviousPriorities must only be specified once",
            ),
        ],
    );
}

#[test]
fn health_checks() {
    check(
        "MeshHealthCheck",
        &[
            (to_mesh(json!({"tcp": {}})), ""),
            (
                to_mesh(
                    json!({"interval": "0s", "healthyThreshold": 0, "intervalJitterPercent": 101, "eventLogPath": "a"}),
                ),
                "spec.to[0].default.interval: must be greater than zero when defined; \
                 spec.to[0].default.healthyThreshold: must be greater than zero when defined; \
                 spec.to[0].default.intervalJitterPercent: must be in inclusive range [0, 100]; \
                 spec.to[0].default.eventLogPath: must be a valid path when defined; \
                 spec.to[0].default: must have at least one defined: http, tcp, grpc",
            ),
            (
                to_mesh(json!({"http": {"path": "", "expectedStatuses": [99, 200, 600]}})),
                "spec.to[0].default.http.path: must be defined; \
                 spec.to[0].default.http.expectedStatuses[0]: must be in inclusive range [100, 599]; \
                 spec.to[0].default.http.expectedStatuses[2]: must be in inclusive range [100, 599]",
            ),
        ],
    );
}

#[test]
fn load_balancing() {
    let to =
        |kind: &str, conf: Value| json!({"to": [{"targetRef": {"kind": kind, "labels": {"a": "b"}}, "default": conf}]});
    check(
        "MeshLoadBalancingStrategy",
        &[
            (to_mesh(json!({"loadBalancer": {"type": "RoundRobin"}})), ""),
            (
                to("MeshHTTPRoute", json!({"loadBalancer": {"type": "RoundRobin"}, "localityAwareness": {}})),
                "spec.to[0].default.loadBalancer: field is not allowed when targetRef.kind is MeshHTTPRoute, only hashPolicies is supported; \
                 spec.to[0].default.localityAwareness: field is not allowed when targetRef.kind is MeshHTTPRoute, only hashPolicies is supported",
            ),
            (
                to("MeshService", json!({"localityAwareness": {"crossZone": {}}})),
                "spec.to[0].default.localityAwareness.crossZone: must not be set: MeshService traffic is local",
            ),
            (
                to_mesh(
                    json!({"localityAwareness": {"localZone": {"affinityTags": [{"key": "", "weight": 0}, {"key": "b"}]},
                    "crossZone": {"failover": [{"from": {"zones": [""]}, "to": {"type": "Any", "zones": ["a"]}}, {"to": {"type": "Only"}}],
                        "failoverThreshold": {"percentage": 0}}}}),
                ),
                "spec.to[0].default.localityAwareness.localZone.affinityTags[0].key: must not be empty; \
                 spec.to[0].default.localityAwareness.localZone.affinityTags[0].weight: must be greater than 0; \
                 spec.to[0].default.localityAwareness.localZone.affinityTags: all or none affinity tags should have weight; \
                 spec.to[0].default.localityAwareness.crossZone.failover[0].from.zones[0]: must not be empty; \
                 spec.to[0].default.localityAwareness.crossZone.failover[0].to.zones: must be empty when type is Any; \
                 spec.to[0].default.localityAwareness.crossZone.failover[1].to.zones: must not be empty when type is Only; \
                 spec.to[0].default.localityAwareness.crossZone.failoverThreshold.percentage: must be greater than 0",
            ),
            (
                to_mesh(json!({"loadBalancer": {"type": "LeastRequest", "leastRequest": {"activeRequestBias": "-1"}},
                    "hashPolicies": [{"type": "Header"}, {"type": "Cookie", "cookie": {"name": "c", "path": "x"}}]})),
                "spec.to[0].default.loadBalancer.leastRequest.activeRequestBias: must be greater or equal then: 0; \
                 spec.to[0].default.hashPolicies[0].header: must be defined; \
                 spec.to[0].default.hashPolicies[1].cookie.path: must be an absolute path",
            ),
        ],
    );
}

#[test]
fn access_logs() {
    let backend = |backend: Value| to_mesh(json!({"backends": [backend]}));
    check(
        "MeshAccessLog",
        &[
            (backend(json!({"type": "File", "file": {"path": "/tmp/a.log"}})), ""),
            (backend(json!({"type": "Tcp", "tcp": {"address": "logs.example.com:1234"}})), ""),
            (to_mesh(json!({"backends": []})), ""),
            (to_mesh(json!({})), "spec.to[0].default.backends: must be defined"),
            (backend(json!({"type": "File"})), "spec.to[0].default.backends[0].file: must be defined"),
            (
                backend(json!({"type": "File", "file": {"path": "a", "format": {"type": "Plain", "plain": ""}}})),
                "spec.to[0].default.backends[0].file.path: file backend requires a valid path; \
                 spec.to[0].default.backends[0].file.format.plain: must not be empty",
            ),
            (
                backend(
                    json!({"type": "Tcp", "tcp": {"address": "a b", "format": {"type": "Json", "json": [{"key": "", "value": "\""}]}}}),
                ),
                "spec.to[0].default.backends[0].tcp.address: tcp backend requires valid address; \
                 spec.to[0].default.backends[0].tcp.format.json[0].key: key cannot be empty; \
                 spec.to[0].default.backends[0].tcp.format.json[0]: is not a valid JSON object",
            ),
            (
                backend(
                    json!({"type": "OpenTelemetry", "openTelemetry": {"backendRef": {"kind": "MeshOpenTelemetryBackend"},
                    "attributes": [{"key": "otel.a", "value": ""}]}}),
                ),
                "spec.to[0].default.backends[0].openTelemetry.backendRef: backendRef must have exactly one defined: labels; \
                 spec.to[0].default.backends[0].openTelemetry.attributes[0].key: must not use the reserved OpenTelemetry prefix 'otel.'",
            ),
        ],
    );
}

#[test]
fn traces() {
    let backend = |backend: Value| json!({"default": {"backends": [backend]}});
    let datadog = |url: &str| backend(json!({"type": "Datadog", "datadog": {"url": url}}));
    check(
        "MeshTrace",
        &[
            (json!({"default": {"backends": []}}), ""),
            (json!({}), "spec.default.backends: must be defined"),
            (datadog("http://datadog:8126"), ""),
            (
                datadog("https://datadog"),
                "spec.default.backends[0].datadog.url: scheme must be http; spec.default.backends[0].datadog.url: port must be defined",
            ),
            (
                datadog("http://u@datadog:99999/p?q"),
                "spec.default.backends[0].datadog.url: port must be a valid (1-65535); \
                 spec.default.backends[0].datadog.url: user must not be defined; \
                 spec.default.backends[0].datadog.url: path must not be defined; \
                 spec.default.backends[0].datadog.url: query must not be defined",
            ),
            (
                backend(json!({"type": "Zipkin", "zipkin": {"url": "not a url"}})),
                "spec.default.backends[0].zipkin.url: must be a valid url",
            ),
            (
                json!({"default": {"backends": [], "tags": [{"name": ""}], "sampling": {"overall": 101, "client": "x"}}}),
                "spec.default.tags[0].name: must not be empty; \
                 spec.default.tags[0]: tag must have only one type defined: header, literal; \
                 spec.default.sampling.client: string is not a number; \
                 spec.default.sampling.overall: must be between 0 and 100",
            ),
        ],
    );
}

#[test]
fn metrics_and_their_backends() {
    check(
        "MeshMetric",
        &[
            (
                json!({"default": {"backends": [{"type": "Prometheus", "prometheus": {}}], "applications": [{"port": 80}]}}),
                "",
            ),
            (
                json!({"default": {"applications": [{"port": 0}],
                    "backends": [{"type": "Prometheus"}, {"type": "Prometheus", "prometheus": {"port": 70000}}, {"type": "OpenTelemetry", "openTelemetry": {}}],
                    "sidecar": {"profiles": {"exclude": [{"type": "Regex", "match": "("}]}}}}),
                "spec.default.applications.application[0]: port must be a valid (1-65535); \
                 spec.default.backends.backend[0].prometheus: must be defined; \
                 spec.default.backends.backend[1].port: port must be a valid (1-65535); \
                 spec.default.backends.backend[2].openTelemetry.backendRef: must be defined; \
                 spec.default.sidecar.profiles.exclude[0].match: invalid regex",
            ),
        ],
    );
    check(
        "MeshOpenTelemetryBackend",
        &[
            (json!({}), ""),
            (
                json!({"endpoint": {"address": "", "port": 0, "path": "/a"}}),
                "spec.endpoint.address: must not be empty; spec.endpoint.port: port must be a valid (1-65535); \
                 spec.endpoint.path: must not be set when protocol is grpc",
            ),
            (
                json!({"endpoint": {"path": "a?b"}, "protocol": "http"}),
                "spec.endpoint.path: must start with /; spec.endpoint.path: must not contain query or fragment",
            ),
            (json!({"env": {"mode": "Odd"}}), "spec.env.mode: in body should be one of [Disabled Optional Required]"),
        ],
    );
}

#[test]
fn rate_limits_and_faults() {
    let dataplane = json!({"kind": "Dataplane"});
    let rules = |conf: Value| json!({"targetRef": dataplane, "rules": [{"default": conf}]});
    let rate = json!({"num": 1, "interval": "1s"});
    check(
        "MeshRateLimit",
        &[
            (rules(json!({"local": {"http": {"requestRate": rate}}})), ""),
            (to_mesh(json!({"local": {"tcp": {"disabled": true}}})), ""),
            (json!({}), "spec: at least one of 'to' or 'rules' has to be defined"),
            (
                json!({"rules": [{"default": {"local": {"tcp": {"disabled": true}}}}]}),
                "spec.rules: must not be defined",
            ),
            (
                json!({"targetRef": dataplane, "to": [{"targetRef": {"kind": "Mesh"}, "default": {}}]}),
                "spec.to: must not be defined; spec.to[0].default.local: must be defined",
            ),
            (
                rules(json!({"local": {"http": {}, "tcp": {"connectionRate": {"num": 0, "interval": "50ms"}}}})),
                "spec.rules[0].default.local.http: must have at least one defined: disabled, requestRate, onRateLimit; \
                 spec.rules[0].default.local.tcp.connectionRate.num: must be greater than 0; \
                 spec.rules[0].default.local.tcp.connectionRate.interval: must be greater than: 50ms",
            ),
            (
                json!({"targetRef": dataplane, "rules": [{"matches": [{}], "default": {"local": {}}}]}),
                "spec.rules[0].matches[0]: must specify at least one of 'spiffeID' or 'sni'; \
                 spec.rules[0].default.local: must have at least one defined: tcp, http",
            ),
        ],
    );
    check(
        "MeshFaultInjection",
        &[
            (json!({}), ""),
            (rules(json!({"http": [{"responseBandwidth": {"limit": "50 Mbps", "percentage": "0.5"}}]})), ""),
            (
                rules(
                    json!({"http": [{}, {"abort": {"httpStatus": 600, "percentage": 101}, "delay": {"value": "-1s", "percentage": "x"},
                    "responseBandwidth": {"limit": "50", "percentage": 1}}]}),
                ),
                "spec.rules[0].default.http.abort[1].httpStatus: must be in inclusive range [100, 599]; \
                 spec.rules[0].default.http.abort[1].percentage: must be in inclusive range [0.0, 100.0]; \
                 spec.rules[0].default.http.delay[1].value: must not be negative when defined; \
                 spec.rules[0].default.http.delay[1].percentage: string must be a valid number; \
                 spec.rules[0].default.http.responseBandwidth[1].limit: must be in kbps/Mbps/Gbps units",
            ),
        ],
    );
}

#[test]
fn passthrough() {
    let with = |items: Value| json!({"default": {"passthroughMode": "Matched", "appendMatch": items}});
    check(
        "MeshPassthrough",
        &[
            (json!({}), ""),
            (
                with(
                    json!([{"type": "Domain", "value": "*.example.com", "protocol": "tls", "port": 443}, {"type": "CIDR", "value": "10.0.0.0/8"}]),
                ),
                "",
            ),
            (
                with(
                    json!([{"type": "Domain", "value": "a.b", "protocol": "http", "port": 80}, {"type": "Domain", "value": "c.d", "protocol": "grpc", "port": 80}]),
                ),
                "spec.default.appendMatch[1].port: using the same port in multiple matches requires the same protocol for the following protocols: [grpc http http2]",
            ),
            (
                with(
                    json!([{"type": "IP", "value": "x"}, {"type": "CIDR", "value": "10.0.0.1"}, {"type": "Domain", "value": "*a.b"},
                    {"type": "Domain", "value": "*.a.b", "protocol": "http"}, {"type": "IP", "value": "10.0.0.1", "protocol": "mysql"}]),
                ),
                "spec.default.appendMatch[0].value: provided IP has incorrect value; \
                 spec.default.appendMatch[1].value: provided CIDR has incorrect value; \
                 spec.default.appendMatch[2].protocol: protocol tcp is not supported for a domain; \
                 spec.default.appendMatch[2].value: provided DNS has incorrect value, partial wildcard is currently not supported; \
                 spec.default.appendMatch[2].value: provided DNS has incorrect value; \
                 spec.default.appendMatch[3].port: wildcard domains doesn't work for all ports and layer 7 protocol; \
                 spec.default.appendMatch[4].port: port must be defined for Mysql protocol",
            ),
        ],
    );
}

#[test]
fn proxy_patches() {
    let with = |item: Value| json!({"default": {"appendModifications": [item]}});
    check(
        "MeshProxyPatch",
        &[
            (with(json!({"cluster": {"operation": "Add", "value": "name: a"}})), ""),
            (json!({"default": {}}), "spec.default.appendModifications: must not be empty"),
            (json!({}), "spec.default: in body is required"),
            (
                with(json!({})),
                "spec.default.appendModifications[0]: exactly one modification can be defined at a time. Currently, 0 modifications are defined",
            ),
            (
                with(json!({"cluster": {"operation": "Add", "match": {"name": "a"}}})),
                "spec.default.appendModifications[0].cluster.match: must not be defined; \
                 spec.default.appendModifications[0].cluster.value: must be defined",
            ),
            (
                with(json!({"listener": {"operation": "Patch"}})),
                "spec.default.appendModifications[0].listener: listener must have exactly one defined: value, jsonPatches",
            ),
            (
                with(json!({"httpFilter": {"operation": "AddBefore", "value": "[1]"}})),
                "spec.default.appendModifications[0].httpFilter.match.name: must be defined. You need to pick a filter before which this one will be added; \
                 spec.default.appendModifications[0].httpFilter.value: native Envoy resource is not valid: it is not an object",
            ),
            (
                with(json!({"virtualHost": {"operation": "Patch", "match": {}, "jsonPatches": [
                    {"op": "remove", "path": "/"}, {"op": "move", "path": "/a"}, {"op": "add", "path": "/a", "from": "/b"}]}})),
                "spec.default.appendModifications[0].virtualHost.jsonPatches[0].path: root path cannot be removed; \
                 spec.default.appendModifications[0].virtualHost.jsonPatches[1].from: \"from\" must not be empty when \"op\" is one of [\"move\", \"copy\"]; \
                 spec.default.appendModifications[0].virtualHost.jsonPatches[2].from: \"from\" is allowed only when \"op\" is one of [\"move\", \"copy\"]; \
                 spec.default.appendModifications[0].virtualHost.jsonPatches[2].value: \"value\" must not be empty when \"op\" is one of [\"add\", \"replace\"]",
            ),
        ],
    );
}
