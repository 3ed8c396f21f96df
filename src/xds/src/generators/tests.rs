//! Golden tests of the generators: plain inputs in, Envoy's JSON out. `UPDATE_EXPECT=1` rewrites the
//! files, whose differences are then reviewed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use expect_test::{ExpectFile, expect_file};
use model::registry::{MESH_EXTERNAL_SERVICE, MESH_MULTI_ZONE_SERVICE, MESH_SERVICE};
use model::{Kind, Kri};
use serde_json::{Value, json};

use super::external_tls::{ExternalTls, ExternalTlsError, ServerName, Verify};
use super::internal_addresses::InternalAddresses;
use super::outbound::{DestinationPort, Endpoint, Locality, Outbound, OutboundTraits, Split};
use super::tls::TlsIdentity;
use super::zone_listener::ZoneListener;
use super::{admin, direct_access, dns, identity, inbound, outbound, transparent_proxy, zone_egress, zone_ingress};
use crate::envoy::route::Route;
use crate::json::to_json;
use crate::protocol::Protocol;
use crate::resource_set::{Origin, ResourceSet};

fn check(set: ResourceSet, expected: ExpectFile) {
    let messages = set.finish();
    let json = |values: Vec<Result<Value, crate::json::JsonError>>| {
        Value::Array(values.into_iter().map(|value| value.expect("known types")).collect())
    };
    let mut all = serde_json::Map::new();
    let parts = [
        ("clusters", json(messages.clusters.iter().map(to_json).collect())),
        ("endpoints", json(messages.endpoints.iter().map(|e| to_json(&**e)).collect())),
        ("listeners", json(messages.listeners.iter().map(to_json).collect())),
        ("secrets", json(messages.secrets.iter().map(to_json).collect())),
    ];
    for (name, value) in parts.into_iter().filter(|(_, value)| value != &json!([])) {
        all.insert(name.to_owned(), value);
    }
    expected.assert_eq(&format!("{:#}\n", Value::Object(all)));
}

fn kri(kind: Kind, zone: &str, name: &str, section: &str) -> Kri {
    let [mesh, zone, namespace, name, section] = ["m", zone, "", name, section].map(Into::into);
    Kri { kind, mesh, zone, namespace, name, section }
}

fn internal() -> InternalAddresses {
    InternalAddresses::parse(&["10.0.0.0/8"])
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn admin_inputs<'a>(certs: &'a admin::AdminCerts) -> admin::Inputs<'a> {
    admin::Inputs {
        dataplane_address: "10.1.0.1",
        admin_address: "",
        admin_port: 9901,
        admin_socket_path: "",
        readiness_port: 9902,
        readiness_socket_path: "",
        reuse_port: true,
        ipv6: false,
        certs,
    }
}

#[test]
fn admin_is_open_for_probes_and_guarded_for_the_rest() {
    let certs = admin::AdminCerts { ca: b"ca".into(), cert: b"cert".into(), key: b"key".into() };
    let set = admin::generate(&admin_inputs(&certs)).expect("usable addresses");
    check(set, expect_file!["golden/admin.json"]);
}

#[test]
fn admin_addresses_are_checked() {
    let certs = admin::AdminCerts::default();
    let inputs = admin_inputs(&certs);
    let foreign = admin::Inputs { admin_address: "10.0.0.9", ..inputs };
    assert_eq!(admin::generate(&foreign), Err(admin::AdminError::Address));
    let no_readiness = admin::Inputs { readiness_port: 0, ..inputs };
    assert_eq!(admin::generate(&no_readiness), Err(admin::AdminError::ReadinessPort));
    let no_admin = admin::Inputs { admin_port: 0, ..no_readiness };
    assert_eq!(admin::generate(&no_admin), Ok(ResourceSet::new()));
    let own = admin::Inputs { dataplane_address: "127.0.0.1", admin_address: "0.0.0.0", ..inputs };
    assert!(admin::generate(&own).expect("usable addresses").listeners.is_empty());
}

fn passthrough(strict: Option<&[u16]>) -> transparent_proxy::Inputs {
    transparent_proxy::Inputs {
        redirect_port_inbound: 15006,
        redirect_port_outbound: 15001,
        ipv6: false,
        reuse_port: true,
        strict_inbound_ports: strict.map(|ports| ports.iter().copied().collect()),
    }
}

#[test]
fn passthrough_is_open_by_default() {
    check(transparent_proxy::generate(&passthrough(None)), expect_file!["golden/passthrough.json"]);
}

#[test]
fn strict_passthrough_has_a_chain_for_each_port() {
    let set = transparent_proxy::generate(&passthrough(Some(&[8080, 49151])));
    let listener = &set.listeners["self_transparentproxy_passthrough_inbound_ipv4"];
    let ports: Vec<_> = listener
        .chains
        .iter()
        .filter_map(|c| c.chain.filter_chain_match.as_ref()?.destination_port.map(|port| port.value))
        .collect();
    assert_eq!(ports, [8080, 49151]);
    let mut listener = listener.clone();
    let clusters: Vec<_> = listener.tcp_proxies_mut().map(|p| format!("{:?}", p.cluster_specifier)).collect();
    assert!(clusters[1].contains("no_destination"));
}

#[test]
fn without_outbound_redirection_there_is_no_passthrough() {
    let inputs = transparent_proxy::Inputs { redirect_port_outbound: 0, ..passthrough(None) };
    assert_eq!(transparent_proxy::generate(&inputs), ResourceSet::new());
}

#[test]
fn inbounds_speak_their_protocol() {
    let inbound = |section: &str, port, protocol| inbound::Inbound {
        section: section.to_owned(),
        address: "10.1.0.1".to_owned(),
        port,
        workload_address: if port == 80 { "127.0.0.1".to_owned() } else { "10.1.0.1".to_owned() },
        workload_port: port + 8000,
        protocol,
    };
    let inbounds = [
        inbound("http", 80, Protocol::Http),
        inbound("grpc", 81, Protocol::Grpc),
        inbound("82", 82, Protocol::Mysql),
        inbound("none", 49151, Protocol::Tcp),
    ];
    let internal = internal();
    let traits = inbound::InboundTraits {
        labels: &labels(&[("app", "a")]),
        transparent: true,
        reuse_port: true,
        internal: &internal,
    };
    check(inbound::generate(&inbounds, &traits), expect_file!["golden/inbounds.json"]);
}

#[test]
fn direct_access_leaves_taken_addresses_and_other_services_out() {
    let peer = |service, address, port| direct_access::PeerInbound { service, address, port };
    let peers = || {
        [
            peer(Some("a"), "10.0.0.2", 80),
            peer(Some("b"), "10.0.0.3", 80),
            peer(None, "10.0.0.4", 80),
            peer(Some("a"), "10.0.0.5", 80),
        ]
    };
    let taken = BTreeSet::from([("10.0.0.5", 80)]);
    let one = direct_access::generate(&["a".to_owned()], peers(), &taken);
    assert_eq!(one.listeners.keys().collect::<Vec<_>>(), ["direct_access_10.0.0.2:80"]);
    let all = direct_access::generate(&["*".to_owned()], peers(), &taken);
    assert_eq!(all.listeners.len(), 3);
    assert_eq!(direct_access::generate(&[], peers(), &taken), ResourceSet::new());
    check(one, expect_file!["golden/direct_access.json"]);
}

#[test]
fn names_of_the_own_outbounds_are_served_with_their_hash() {
    let mut set = ResourceSet::new();
    let place = super::dynamic_config::Place { work_dir: "/w", ipv6: false };
    let inputs = dns::Inputs {
        mesh: "m",
        labels: &labels(&[("kuma.io/zone", "east"), ("app", "a")]),
        outbound_addresses: &BTreeSet::from(["241.0.0.1", "fd00::1"]),
        ipv6_mapped: true,
    };
    let (web, gone) = (["web.mesh".to_owned(), "a.mesh".to_owned()], ["gone.mesh".to_owned()]);
    let vips = [
        dns::VipDomains { address: "241.0.0.1", domains: &web },
        dns::VipDomains { address: "241.0.0.2", domains: &gone },
        dns::VipDomains { address: "fd00::1", domains: &web[1..] },
    ];
    dns::generate(&mut set, place, &inputs, vips);
    super::dynamic_config::add(&mut set, place, "otel", "{}".to_owned());
    check(set, expect_file!["golden/dns.json"]);
}

fn endpoint(address: &str, zone: Option<(&str, u32)>) -> Endpoint {
    Endpoint {
        address: address.to_owned(),
        port: 8080,
        weight: 1,
        tags: labels(&[("app", "a"), ("kuma.io/service", "a")]),
        locality: zone.map(|(zone, priority)| Locality { zone: zone.to_owned(), sub_zone: String::new(), priority }),
    }
}

fn destination(kind: Kind, protocol: Protocol, spiffe_ids: &[&str]) -> DestinationPort {
    let ids: BTreeSet<String> = spiffe_ids.iter().map(|id| (*id).to_owned()).collect();
    DestinationPort { kri: kri(kind, "east", "web", "http"), protocol, spiffe_ids: Some(Arc::new(ids)) }
}

#[test]
fn an_outbound_has_listener_cluster_and_endpoints() {
    let mut set = ResourceSet::new();
    let traits = OutboundTraits { bind_to_port: false, internal: internal(), kuma_tags: None };
    let http = destination(MESH_SERVICE, Protocol::Grpc, &["spiffe://b", "spiffe://a"]);
    let by_number = http.kri.with_section("80");
    let me = TlsIdentity::issued("kri_mid_m___id_");
    let out = Outbound { address: "241.0.0.1".to_owned(), port: 80, destination: http.kri.clone() };
    let route = super::blocks::cluster_route(super::blocks::prefix_match("/"), &by_number.to_string());
    set.add_listener(outbound::http_listener(&out, http.protocol, &traits, vec![Route { ..route }]));
    set.add_cluster(outbound::cluster(&by_number, &http, Some(&me)).expect("a server name"));
    let endpoints = [
        endpoint("10.0.0.9", Some(("west", 1))),
        endpoint("10.0.0.3", Some(("east", 0))),
        endpoint("10.0.0.2", Some(("east", 0))),
        endpoint("10.0.0.1", None),
    ];
    set.add_endpoints(outbound::endpoints(&by_number, &http.kri, &endpoints));
    check(set, expect_file!["golden/outbound_http.json"]);
}

#[test]
fn a_tcp_outbound_splits_connections_or_closes_them() {
    let traits = OutboundTraits { bind_to_port: true, internal: internal(), kuma_tags: None };
    let external = destination(MESH_EXTERNAL_SERVICE, Protocol::Tcp, &["spiffe://egress"]);
    let out = |port| Outbound {
        address: "241.0.0.1".to_owned(),
        port,
        destination: external.kri.with_section(&port.to_string()),
    };
    let split = |cluster: &str, weight| Split { cluster: cluster.to_owned(), weight, external: false };
    let mut set = ResourceSet::new();
    set.add_listener(outbound::tcp_listener(&out(1), Protocol::Tcp, &traits, &[split("a", 1), split("b", 2)]));
    set.add_listener(outbound::tcp_listener(&out(2), Protocol::Tcp, &traits, &[split("a", 1)]));
    set.add_listener(outbound::tcp_listener(&out(3), Protocol::Tcp, &traits, &[]));
    set.add_cluster(outbound::cluster(&external.kri, &external, None).expect("plaintext needs no server name"));
    check(set, expect_file!["golden/outbound_tcp.json"]);
}

#[test]
fn a_destination_without_known_identities_is_not_any_workload_of_the_mesh() {
    let me = TlsIdentity::issued("id");
    let nobody = destination(MESH_SERVICE, Protocol::Http, &[]);
    let cluster = outbound::cluster(&nobody.kri, &nobody, Some(&me)).expect("a server name");
    let json = to_json(&cluster.pack()).expect("known types").to_string();
    assert!(json.contains(r#""matchTypedSubjectAltNames":[{"matcher":{"exact":""},"sanType":"URI"}]"#), "{json}");
}

#[test]
fn a_destination_that_tls_cannot_name_has_no_cluster() {
    let me = TlsIdentity::issued("id");
    let dotted = DestinationPort {
        kri: kri(MESH_SERVICE, "east", "a.b", "80"),
        ..destination(MESH_SERVICE, Protocol::Http, &["spiffe://a"])
    };
    assert!(outbound::cluster(&dotted.kri, &dotted, Some(&me)).is_err());
    assert!(outbound::cluster(&dotted.kri, &dotted, None).is_ok());
}

#[test]
fn secrets_come_from_the_control_plane_or_from_spire() {
    let mut set = ResourceSet::new();
    let cas = BTreeMap::from([
        ("west".to_owned(), vec!["c".to_owned()]),
        ("east".to_owned(), vec!["a".to_owned(), "b".to_owned()]),
    ]);
    set.add_secret(Origin::IdentityBundled, identity::certificate_secret("id", b"chain", b"key"));
    set.add_secret(Origin::MeshTrust, identity::trust_bundle_secret(&cas).expect("trusted domains"));
    assert_eq!(identity::trust_bundle_secret(&BTreeMap::new()), None);
    set.add_cluster(identity::spire_cluster("/run/spire.sock", Duration::from_secs(1)));
    let spire = TlsIdentity::of_spire("spiffe://east/me");
    let web = destination(MESH_MULTI_ZONE_SERVICE, Protocol::Tcp, &["spiffe://a"]);
    set.add_cluster(outbound::cluster(&web.kri, &web, Some(&spire)).expect("a server name"));
    check(set, expect_file!["golden/secrets.json"]);
}

fn zone_listener() -> ZoneListener {
    ZoneListener { section: "10001".to_owned(), address: "10.0.0.1".to_owned(), port: 10001 }
}

#[test]
fn an_ingress_passes_through_by_server_name() {
    let to = |kri: Kri| zone_ingress::IngressDestination {
        endpoints: Arc::new(outbound::load_assignment(&kri.to_string(), &[endpoint("10.0.0.2", None)])),
        kri,
    };
    let destinations = [
        to(kri(MESH_MULTI_ZONE_SERVICE, "", "web", "80")),
        to(kri(MESH_SERVICE, "east", "web", "80")),
        to(kri(MESH_SERVICE, "east", "not.a.label", "80")),
    ];
    check(zone_ingress::generate(&zone_listener(), true, &destinations), expect_file!["golden/zone_ingress.json"]);
    assert_eq!(zone_ingress::generate(&zone_listener(), true, &[]), ResourceSet::new());
}

fn egress(services: &[zone_egress::ExternalDestination]) -> (ResourceSet, Vec<zone_egress::Refused>) {
    let (me, internal) = (TlsIdentity::issued("id"), internal());
    let traits = zone_egress::EgressTraits {
        identity: &me,
        internal: &internal,
        reuse_port: true,
        ipv6: false,
        system_ca_path: "",
    };
    zone_egress::generate(&zone_listener(), &traits, services)
}

fn external(name: &str, address: &str, tls: Option<ExternalTls>) -> zone_egress::ExternalDestination {
    let protocol = if tls.is_some() { Protocol::Http } else { Protocol::Tcp };
    let endpoints = vec![endpoint(address, None)];
    zone_egress::ExternalDestination { kri: kri(MESH_EXTERNAL_SERVICE, "", name, "443"), protocol, endpoints, tls }
}

#[test]
fn an_egress_ends_mesh_tls_and_begins_the_services_own() {
    let secured = ExternalTls {
        server_name: Some("other.example".to_owned()),
        subject_alt_names: vec![ServerName::Prefix("ex".to_owned())],
        ca: Some(b"ca".into()),
        client_certificate: Some((b"cert".into(), b"key".into())),
        ..Default::default()
    };
    let unverified = ExternalTls { verify: Verify::SkipAll, ..secured.clone() };
    let services = [
        external("plain", "10.9.0.1", None),
        external("secured", "a.example", Some(secured)),
        external("unverified", "b.example", Some(unverified)),
    ];
    let (set, refused) = egress(&services);
    assert_eq!(refused, []);
    check(set, expect_file!["golden/zone_egress.json"]);
}

#[test]
fn an_external_service_that_cannot_be_verified_is_left_out() {
    let services =
        [external("secured", "a.example", Some(ExternalTls::default())), external("plain", "10.9.0.1", None)];
    let (set, refused) = egress(&services);
    assert_eq!(refused, [(services[0].kri.clone(), ExternalTlsError::NoCa.into())]);
    assert_eq!(set.clusters.len(), 1);
    assert_eq!(set.listeners.values().map(|listener| listener.chains.len()).sum::<usize>(), 1);
}
