//! What each kind refuses, with the paths and words of the reference.

use serde_json::{Value, json};

use crate::codec::{DecodeError, Document};
use crate::meta::Labels;
use crate::registry;

/// The faults of a spec: those of its schema, or else those of its rules.
fn faults(kind: &str, raw: Value) -> String {
    let kind = registry::by_name(kind).expect("a registered kind");
    match kind.codec.admit(raw) {
        Err(DecodeError::Invalid(violations)) => violations.to_string(),
        Err(malformed) => format!("malformed: {malformed}"),
        Ok(spec) => {
            let document = Document { mesh: "default", name: "n", labels: &Labels::new(), spec: &spec };
            (kind.codec.validate)(&document).to_string()
        }
    }
}

pub(super) fn check(kind: &str, table: &[(Value, &str)]) {
    for (raw, expected) in table {
        assert_eq!(faults(kind, raw.clone()), *expected, "{kind} {raw}");
    }
}

#[test]
fn dataplane_addresses_and_ports() {
    let with = |extra: Value| {
        let mut networking = json!({"address": "10.0.0.1"});
        let fields = networking.as_object_mut().expect("an object");
        fields.extend(extra.as_object().expect("an object").clone());
        json!({"networking": networking})
    };
    check(
        "Dataplane",
        &[
            (json!({}), "networking: must be defined"),
            (json!({"networking": {}}), "networking.address: address can't be empty"),
            (json!({"networking": {"address": "::"}}), "networking.address: must not be 0.0.0.0 or ::"),
            (
                json!({"networking": {"address": "a b"}}),
                "networking.address: address has to be valid IP address or domain name",
            ),
            (with(json!({"inbound": [{"port": 80, "servicePort": 8080, "protocol": "HTTP"}]})), ""),
            (
                with(json!({"inbound": [{"protocol": "odd", "servicePort": 70000, "address": "x"}]})),
                "networking.inbound[0].port: port must be in the range [1, 65535]; \
                 networking.inbound[0].servicePort: port must be in the range [1, 65535]; \
                 networking.inbound[0].address: address has to be valid IP address; \
                 networking.inbound[0].protocol: has an invalid value \"odd\". Allowed values: grpc, http, http2, tcp",
            ),
            (
                with(json!({"inbound": [{"port": 80, "serviceAddress": "10.0.0.1"}]})),
                "networking.inbound[0].serviceAddress: serviceAddress and servicePort has to differ from address and port",
            ),
            (
                with(json!({"inbound": [{"port": 80, "serviceProbe": {"interval": "0s", "healthyThreshold": 0}}]})),
                "networking.inbound[0].serviceProbe.interval: must have a positive value; \
                 networking.inbound[0].serviceProbe.healthyThreshold: must have a positive value",
            ),
            (
                with(json!({"admin": {"port": 9901}, "inbound": [{"port": 80, "servicePort": 9901}],
                    "outbound": [{"port": 9901, "backendRef": {"kind": "MeshService", "name": "a", "port": 80}}]})),
                "networking.admin.port: must differ from inbound; networking.admin.port: must differ from outbound",
            ),
            (
                with(json!({"outbound": [{"port": 1}, {"port": 2, "backendRef": {"kind": "Odd"}}]})),
                "networking.outbound[0].backendRef: must be defined; \
                 networking.outbound[1].backendRef.kind: invalid value. Available values are: MeshExternalService,MeshMultiZoneService,MeshService; \
                 networking.outbound[1].backendRef: either 'name' or 'labels' should be specified; \
                 networking.outbound[1].backendRef.port: port must be in the range [1, 65535]",
            ),
        ],
    );
}

#[test]
fn dataplane_gateways_and_listeners() {
    check(
        "Dataplane",
        &[
            (json!({"networking": {"address": "10.0.0.1", "gateway": {"tags": {"kuma.io/zone": "z"}}}}), ""),
            (
                json!({"networking": {"address": "10.0.0.1", "inbound": [{"port": 1}],
                    "gateway": {"tags": {"a b": "", "kuma.io/protocol": "http"}}}}),
                "networking.inbound: inbound cannot be defined for delegated gateways; \
                 networking.gateway.tags[\"a b\"]: tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores; \
                 networking.gateway.tags[\"a b\"]: tag value must be non-empty; \
                 networking.gateway.tags: mandatory tag \"kuma.io/service\" is missing; \
                 networking.gateway.tags[\"kuma.io/protocol\"]: other values than tcp are not allowed, provided value \"http\"",
            ),
            (
                json!({"networking": {"address": "10.0.0.1", "inbound": [{"port": 80}], "listeners": [
                    {"type": "ZoneIngress", "address": "10.0.0.1", "port": 1, "name": "80"},
                    {"type": "ZoneEgress", "address": "10.0.0.1", "port": 1},
                    {"type": "ZoneIngress", "address": "10.0.0.1", "port": 80},
                    {"address": "10.0.0.2", "port": 2}]}}),
                "networking.listeners[0].name: name \"80\" must be unique across inbounds and listeners; \
                 networking.listeners[1]: address:port 10.0.0.1:1 is used by listeners of different types; \
                 networking.listeners[2]: address:port 10.0.0.1:80 collides with an inbound listener; \
                 networking.listeners[3].type: type must be ZoneIngress or ZoneEgress",
            ),
            (
                json!({"networking": {"address": "10.0.0.1", "transparentProxying": {"reachableBackends": {"refs": [
                    {"kind": "MeshService"}, {"kind": "MeshService", "namespace": "a", "labels": {"a": "b"}}]}}}}),
                "networking.transparentProxing.reachableBackends.refs[0].name: name or labels are required; \
                 networking.transparentProxing.reachableBackends.refs[1].name: name is required, when namespace is defined; \
                 networking.transparentProxing.reachableBackends.refs[1].labels: labels cannot be defined when name is specified",
            ),
        ],
    );
}

#[test]
fn destinations() {
    check(
        "MeshService",
        &[
            (json!({"ports": [{"port": 80}]}), ""),
            (
                json!({"selector": {"dataplaneRef": {"name": "a"}, "dataplaneLabels": {}}, "ports": [{"port": 80, "appProtocol": "kafka"}]}),
                "spec.ports[0].appProtocol: appProtocol must be one of: grpc, http, http2, tcp; \
                 spec.selector: must specify only one of: dataplaneRef or dataplaneLabels",
            ),
            (
                json!({"state": "Odd", "ports": [{}]}),
                "spec.ports[0].port: in body is required; spec.state: in body should be one of [Available Unavailable]",
            ),
        ],
    );
    check(
        "MeshMultiZoneService",
        &[
            (
                json!({"selector": {"meshService": {}}, "ports": [{"port": 80, "name": "", "appProtocol": "HTTP"}]}),
                "spec.selector.meshService.matchLabels: cannot be empty; spec.ports[0].name: must not be empty; \
                 spec.ports[0].appProtocol: appProtocol must be one of: grpc, http, http2, tcp",
            ),
            (
                json!({"ports": []}),
                "spec.ports: in body should have at least 1 items; spec.selector: in body is required",
            ),
        ],
    );
    let external =
        |tls: Value| json!({"match": {"port": 80}, "endpoints": [{"address": "a.b", "port": 80}], "tls": tls});
    check(
        "MeshExternalService",
        &[
            (external(json!({"enabled": true})), ""),
            (
                json!({"match": {"port": 80}, "endpoints": [{"address": "a b", "port": 80}]}),
                "spec.endpoints[0].address: address has to be a valid IP or hostname",
            ),
            (
                json!({"match": {"port": 0, "protocol": "udp"}}),
                "spec.match.port: in body should be greater than or equal to 1; \
                 spec.match.protocol: in body should be one of [tcp grpc http http2]",
            ),
            (
                external(json!({"version": {"min": "TLS13", "max": "TLS12"}, "verification": {"serverName": "a b",
                    "clientCert": {"type": "EnvVar", "envVar": {"name": "A"}}}})),
                "spec.tls.version.min: min version must be lower than max; \
                 spec.tls.verification.serverName: must be a valid DNS name; \
                 spec.tls.verification.clientKey: must be defined when clientCert is defined; \
                 spec.tls.verification.clientCert.type: EnvVar must be one of: Secret, InsecureInline",
            ),
        ],
    );
    check(
        "MeshZoneAddress",
        &[
            (json!({"address": "example.com", "port": 10001}), ""),
            (json!({"address": "0.0.0.0", "port": 1}), "spec.address: must not be 0.0.0.0 or ::"),
            (json!({"address": "a b", "port": 1}), "spec.address: must be a valid IP address or domain name"),
            (json!({"port": 1}), "spec.address: in body is required"),
        ],
    );
}

#[test]
fn hostname_generators() {
    let with = |template: &str| json!({"selector": {"meshService": {}}, "template": template});
    check(
        "HostnameGenerator",
        &[
            (with("{{ .DisplayName }}.svc.{{ .Zone }}.mesh.local"), ""),
            (with(r#"{{ label "a" }}.mesh"#), ""),
            (with(""), "spec.template: must not be empty"),
            (
                json!({"template": "a"}),
                "spec.selector: exact one selector (meshService, meshExternalService) must be defined",
            ),
        ],
    );
    let found = faults("HostnameGenerator", with("{{ .DisplayName }}_x"));
    let expected = r#"spec.template: template renders to "displayname_x" which is not a valid DNS name: a lowercase RFC 1123 subdomain"#;
    assert!(found.starts_with(expected), "{found}");
    let found = faults("HostnameGenerator", with("{{ .DisplayName"));
    assert!(found.starts_with("spec.template: couldn't parse template: "), "{found}");
}

#[test]
fn identities_and_trust() {
    let bundled = |bundled: Value| json!({"provider": {"type": "Bundled", "bundled": bundled}});
    check(
        "MeshIdentity",
        &[
            (json!({}), ""),
            (bundled(json!({"autogenerate": {"enabled": true}})), ""),
            (json!({"provider": {"type": "Spire"}}), "spec.provider.spire: configuration needs to be defined"),
            (bundled(json!({})), "spec.provider.bundled.ca: must be defined"),
            (
                bundled(
                    json!({"autogenerate": {"enabled": true}, "ca": {}, "certificateParameters": {"expiry": "-1s"}}),
                ),
                "spec.provider.bundled.ca: shouldn't be defined once using autogenerated; \
                 spec.provider.bundled.certificateParameters.expiry: must not be negative when defined",
            ),
            (
                bundled(json!({"ca": {"certificate": {"type": "File", "file": {"path": "/a"}}}})),
                "spec.provider.bundled.ca.privateKey: must be defined",
            ),
            (
                json!({"provider": {"type": "Spire", "spire": {"agent": {"timeout": "-1s"}}}}),
                "spec.provider.spire.agent.spire.agent.timeout: must not be negative when defined",
            ),
            (
                json!({"provider": {"type": "Extension", "extension": {"name": ""}}}),
                "spec.provider.extension.name: extension name needs to be defined",
            ),
            (
                json!({"provider": {"type": "Odd"}}),
                "spec.provider.type: in body should be one of [Bundled Spire Extension]",
            ),
        ],
    );
    let pem = |label: &str| format!("-----BEGIN {label}-----\nYQ==\n-----END {label}-----\n");
    let trust = |value: String| json!({"trustDomain": "td", "caBundles": [{"type": "Pem", "pem": {"value": value}}]});
    check(
        "MeshTrust",
        &[
            (trust(pem("CERTIFICATE")), ""),
            (trust(pem("RSA PRIVATE KEY")), "spec.caBundles[0].pem.value: provided certificate has incorrect format"),
            (trust("a".to_owned()), "spec.caBundles[0].pem.value: provided certificate has incorrect format"),
            (
                json!({"trustDomain": "", "caBundles": [{"type": "Pem"}]}),
                "spec.caBundles[0].pem: must be defined; spec.trustDomain: trustDomain needs to be defined",
            ),
        ],
    );
}

#[test]
fn permissions_and_tls() {
    let spiffe = json!({"spiffeID": {"type": "Exact", "value": "x://y"}});
    check(
        "MeshTrafficPermission",
        &[
            (json!({"targetRef": {"kind": "Mesh"}}), "spec: policy must define rules"),
            (
                json!({"rules": [{"default": {}}, {"default": {"deny": [spiffe]}}]}),
                "spec.rules[0]: at least one of 'allow', 'allowWithShadowDeny', 'deny' has to be defined; \
                 spec.rules[1].deny[0].spiffeID: must be a valid Spiffe ID: scheme is missing or invalid",
            ),
            (json!({"rules": [{}]}), "spec.rules[0].default: in body is required"),
            (
                json!({"targetRef": {"kind": "MeshSubset"}, "rules": []}),
                "spec.targetRef.kind: in body should be one of [Mesh Dataplane]",
            ),
        ],
    );
    check(
        "MeshTLS",
        &[
            (json!({}), ""),
            (
                json!({"targetRef": {"kind": "Dataplane"}, "rules": [{"default": {"tlsVersion": {"min": "TLS13", "max": "TLS12"},
                    "tlsCiphers": ["ECDHE-RSA-AES128-GCM-SHA256"]}}]}),
                "spec.rules[0].default.tlsCiphers: tlsCiphers can only be defined with top level targetRef kind: Mesh; \
                 spec.rules[0].default.tlsVersion: tlsVersion can only be defined with top level targetRef kind: Mesh; \
                 spec.rules[0].default.tlsVersion.min: min version must be lower than max",
            ),
            (
                json!({"rules": [{"default": {"mode": "Odd"}}]}),
                "spec.rules[0].default.mode: in body should be one of [Permissive Strict]",
            ),
        ],
    );
}

#[test]
fn timeouts() {
    let to = |conf: Value| json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": conf}]});
    check(
        "MeshTimeout",
        &[
            (to(json!({"http": {"requestTimeout": "0s"}})), ""),
            (json!({}), "spec: at least one of 'to' or 'rules' has to be defined"),
            (to(json!({})), "spec.to[0].default: at least one timeout should be configured"),
            (
                to(json!({"connectionTimeout": "0s", "idleTimeout": "-1s", "http": {"requestHeadersTimeout": "1s"}})),
                "spec.to[0].default.connectionTimeout: must be greater than zero when defined; \
                 spec.to[0].default.idleTimeout: must not be negative when defined; \
                 spec.to[0].default.http: at least one timeout in this section should be configured",
            ),
            (to(json!({"idleTimeout": "x"})), "malformed: time: invalid duration \"x\""),
            (
                json!({"to": [{"targetRef": {"kind": "MeshService"}, "default": {"idleTimeout": "1s"}}], "rules": [{"default": {"idleTimeout": "1s"}}]}),
                "spec: fields 'to' must be empty when 'rules' is defined; \
                 spec.to[0].targetRef.labels: must be set when kind is MeshService",
            ),
            (
                json!({"rules": [{"matches": [{"spiffeID": {"type": "Exact", "value": "spiffe://td/a"}}],
                    "default": {"connectionTimeout": "1s", "http": {"requestTimeout": "1s", "maxStreamDuration": "1s"}}}]}),
                "spec.rules[0].default.connectionTimeout: can't be specified when matches contain spiffeID because this field cannot be conditioned on source identity; \
                 spec.rules[0].default.http.maxStreamDuration: can't be specified when matches contain spiffeID because this field cannot be conditioned on source identity",
            ),
        ],
    );
}

#[test]
fn routes() {
    let service = json!({"kind": "MeshService", "labels": {"kuma.io/display-name": "a"}});
    let rule = |rule: Value| json!({"to": [{"targetRef": service, "rules": [rule]}]});
    let path = |kind: &str, value: &str| json!({"path": {"type": kind, "value": value}});
    let filter = |filter: Value| rule(json!({"matches": [path("Exact", "/")], "default": {"filters": [filter]}}));
    check(
        "MeshHTTPRoute",
        &[
            (rule(json!({"matches": [path("PathPrefix", "/")], "default": {}})), ""),
            (
                rule(json!({"matches": []})),
                "spec.to[0].rules[0].default: in body is required; spec.to[0].rules[0].matches: in body should have at least 1 items",
            ),
            (
                rule(json!({"matches": [path("PathPrefix", "a/"), path("Exact", "b")], "default": {}})),
                "spec.to[0].rules[0].matches[0].path.value: does not need a trailing slash because only a `/`-separated prefix or an entire path is matched; \
                 spec.to[0].rules[0].matches[0].path.value: must be an absolute path; \
                 spec.to[0].rules[0].matches[1].path.value: must be an absolute path",
            ),
            (
                rule(json!({"matches": [{"headers": [{"name": "a", "type": "Present", "value": "x"}],
                    "queryParams": [{"type": "Exact", "name": "q", "value": "1"}, {"type": "Exact", "name": "q", "value": "2"}]}], "default": {}})),
                "spec.to[0].rules[0].matches[0].queryParams[1].name: multiple entries for name q; \
                 spec.to[0].rules[0].matches[0].headers[0].value: must not be defined",
            ),
            (
                filter(json!({"type": "RequestRedirect"})),
                "spec.to[0].rules[0].default.filters[0].requestRedirect: must be defined",
            ),
            (
                filter(json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {}})),
                "spec.to[0].rules[0].default.filters[0].requestHeaderModifier: must have at least one defined: set, add, remove",
            ),
            (
                filter(
                    json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "1"}], "remove": ["a"]}}),
                ),
                "spec.to[0].rules[0].default.filters[0].requestHeaderModifier.remove[0].name: duplicate header name",
            ),
            (
                filter(
                    json!({"type": "URLRewrite", "urlRewrite": {"hostname": "10.0.0.1", "hostToBackendHostname": true,
                    "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/a"}}}),
                ),
                "spec.to[0].rules[0].default.filters[0].urlRewrite.path.replacePrefixMatch: can only appear if all matches match a path prefix; \
                 spec.to[0].rules[0].default.filters[0].urlRewrite.hostname: cannot be an IP address; \
                 spec.to[0].rules[0].default.filters[0].urlRewrite.hostToBackendHostname: must not be set; \
                 spec.to[0].rules[0].default.filters[0].urlRewrite.hostToBackendHostname: cannot be set together with hostname",
            ),
            (
                rule(json!({"matches": [path("Exact", "/")], "default": {"backendRefs": [{"kind": "Mesh"}]}})),
                "spec.to[0].rules[0].default.backendRefs[0].kind: value 'Mesh' is not supported",
            ),
        ],
    );
    check(
        "MeshTCPRoute",
        &[
            (json!({"to": [{"targetRef": service, "rules": []}]}), ""),
            (rule(json!({"default": {}})), "spec.to[0].rules[0].default.backendRefs: must be defined"),
            (json!({"to": []}), "spec.to: in body should have at least 1 items"),
        ],
    );
}
