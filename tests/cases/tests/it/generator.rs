//! What the generators make of a Dataplane.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use cases::{Tally, family_dir};
use model::kinds::dataplane::Dataplane;
use model::{Kri, Resource, registry};
use serde_json::{Value, json};
use xds::envoy::cluster::circuit_breakers::Thresholds;
use xds::generators::external_tls::{ExternalTls, ServerName, Verify};
use xds::generators::internal_addresses::{InternalAddresses, InternalRange};
use xds::generators::outbound::{Endpoint, load_assignment};
use xds::generators::tls::TlsIdentity;
use xds::generators::zone_listener::ZoneListener;
use xds::generators::{
    admin, dataplane, direct_access, dns, dynamic_config, inbound, transparent_proxy, zone_egress, zone_ingress,
};
use xds::json::to_json;
use xds::{Protocol, ResourceSet};

use crate::documents::{compare, resources, stems, yaml};

const FLOOR: usize = 19;

/// The set as a delta response shows it.
pub(crate) fn delta_response(set: ResourceSet) -> Value {
    let messages = set.finish();
    let entry = |message: Result<Value, xds::json::JsonError>, name: &str, ty: &str| {
        let mut message = message.expect("known types");
        message["@type"] = Value::from(format!("type.googleapis.com/{ty}"));
        json!({"name": name, "resource": message})
    };
    let clusters = messages.clusters.iter().map(|m| entry(to_json(m), &m.name, "envoy.config.cluster.v3.Cluster"));
    let endpoints = messages
        .endpoints
        .iter()
        .map(|m| entry(to_json(&**m), &m.cluster_name, "envoy.config.endpoint.v3.ClusterLoadAssignment"));
    let listeners = messages.listeners.iter().map(|m| entry(to_json(m), &m.name, "envoy.config.listener.v3.Listener"));
    json!({"resources": clusters.chain(endpoints).chain(listeners).collect::<Vec<_>>()})
}

fn holds(set: ResourceSet, golden: &Path) -> Result<(), String> {
    compare(&delta_response(set), &yaml(golden))
}

fn spec(resource: &Resource) -> &Dataplane {
    resource.spec().expect("a Dataplane")
}

fn dataplane_of(path: &Path) -> Dataplane {
    serde_json::from_value(yaml(path)).expect("the spec of a Dataplane")
}

fn admin_case(dir: &Path, case: &str, input: &Path) -> Result<(), String> {
    let resource = resources(input).remove(0);
    let certs = admin::AdminCerts { ca: b"caPEM".into(), cert: b"certPEM".into(), key: b"keyPEM".into() };
    let inputs = admin::Inputs {
        dataplane_address: spec(&resource).address(),
        admin_address: match case {
            "02" | "08" => "127.0.0.1",
            "06" => "::1",
            _ => "",
        },
        admin_port: 9901,
        admin_socket_path: "",
        readiness_port: if case == "06" { 9400 } else { 9902 },
        readiness_socket_path: if case == "08" { "kuma-readiness-reporter.sock" } else { "" },
        reuse_port: false,
        ipv6: true,
        certs: &certs,
    };
    let set = admin::generate(&inputs).map_err(|e| e.to_string())?;
    holds(set, &dir.join(format!("{case}.envoy-config.golden.yaml")))
}

fn direct_access_case(dir: &Path, case: &str, input: &Path) -> Result<(), String> {
    let own = resources(input).remove(0);
    let all = resources(&dir.join(format!("{case}.dataplanes.input.yaml")));
    let networking = spec(&own).networking.as_ref().ok_or("no networking")?;
    let services = networking.transparent_proxying.as_ref().map(|t| t.direct_access_services.clone());
    let taken: BTreeSet<_> =
        networking.outbound.iter().map(|o| (o.listen_address(), u16::try_from(o.port).unwrap_or(0))).collect();
    let others = all.iter().filter(|other| other.key != own.key);
    let peers = others.flat_map(|other| dataplane::peer_inbounds(spec(other), other.label("kuma.io/service")));
    let set = direct_access::generate(&services.unwrap_or_default(), peers, &taken);
    holds(set, &dir.join(format!("{case}.envoy-config.golden.yaml")))
}

fn dns_case(dir: &Path, case: &str, input: &Path) -> Result<(), String> {
    let spec = dataplane_of(input);
    let labels = BTreeMap::new();
    let outbound_addresses: BTreeSet<_> = spec.outbounds().iter().map(|o| o.listen_address()).collect();
    let mode = yaml(input)["networking"]["transparentProxying"]["ipFamilyMode"].clone();
    let inputs =
        dns::Inputs { mesh: "", labels: &labels, outbound_addresses: &outbound_addresses, ipv6_mapped: mode != "IPv4" };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let vips = [
        ("240.0.0.1", names(&["httpbin.mesh"])),
        ("240.0.0.0", names(&["backend.test-ns.svc.8080.mesh", "backend_test-ns_svc_8080.mesh"])),
        ("2001:db8::ff00:42:8329", names(&["frontend.test-ns.svc.8080.mesh", "frontend_test-ns_svc_8080.mesh"])),
    ];
    let vips = vips.iter().map(|(address, domains)| dns::VipDomains { address, domains });
    let mut set = ResourceSet::new();
    dns::generate(&mut set, dynamic_config::Place { work_dir: "", ipv6: false }, &inputs, vips);
    holds(set, &dir.join(format!("{case}-envoy-config.golden.yaml")))
}

fn inbound_case(dir: &Path, case: &str, input: &Path) -> Result<(), String> {
    let spec = dataplane_of(input);
    let range = |address: &str, prefix_len| InternalRange { address: address.to_owned(), prefix_len };
    let internal = InternalAddresses::new(vec![range("100.64.0.0", 16), range("fc00::/7", 128), range("::1/128", 128)]);
    let traits = inbound::InboundTraits {
        labels: &BTreeMap::new(),
        transparent: spec.networking.as_ref().is_some_and(|n| n.transparent_proxying.is_some()),
        reuse_port: false,
        internal: &internal,
    };
    let set = inbound::generate(&dataplane::inbounds(&spec), &traits);
    holds(set, &dir.join(format!("{case}-envoy-config.golden.yaml")))
}

fn transparent_case(case: &str, golden: &Path) -> Result<(), String> {
    let inputs = transparent_proxy::Inputs {
        redirect_port_inbound: 15006,
        redirect_port_outbound: 15001,
        ipv6: true,
        reuse_port: false,
        strict_inbound_ports: (case == "06").then(|| BTreeSet::from([8080])),
    };
    holds(transparent_proxy::generate(&inputs), golden)
}

fn kri(kind: model::Kind, zone: &str, name: &str, section: &str) -> Kri {
    let [mesh, zone, namespace, name, section] = ["default", zone, "", name, section].map(Into::into);
    Kri { kind, mesh, zone, namespace, name, section }
}

fn endpoint(address: &str, port: u16) -> Endpoint {
    let tags = BTreeMap::from([("kuma.io/service".to_owned(), "backend".to_owned())]);
    Endpoint { address: address.to_owned(), port, weight: 1, tags, locality: None }
}

fn ingress_case(case: &str, golden: &Path) -> Result<(), String> {
    let (kri, endpoints) = match case {
        "ingress-meshservice-filtered" => (kri(registry::MESH_SERVICE, "east", "backend", "80"), vec![]),
        "ingress-meshmultizoneservice" => {
            (kri(registry::MESH_MULTI_ZONE_SERVICE, "", "global-svc", "80"), vec![endpoint("192.168.0.1", 8080)])
        }
        _ => return Err("unknown case".to_owned()),
    };
    let listener =
        ZoneListener { section: "zone-ingress-port".to_owned(), address: "10.0.0.1".to_owned(), port: 10001 };
    let endpoints = Arc::new(load_assignment(&kri.to_string(), &endpoints));
    holds(zone_ingress::generate(&listener, false, &[zone_ingress::IngressDestination { kri, endpoints }]), golden)
}

fn egress_case(case: &str, golden: &Path) -> Result<(), String> {
    let (address, tls) = match case {
        "egress-meshexternalservice" => (endpoint("192.168.0.1", 27017), None),
        "egress-meshexternalservice-tls-skipall" => {
            (endpoint("example.com", 10000), Some(ExternalTls { verify: Verify::SkipAll, ..Default::default() }))
        }
        "egress-meshexternalservice-tls-custom" => (
            endpoint("example.com", 10000),
            Some(ExternalTls {
                server_name: Some("example2.com".to_owned()),
                subject_alt_names: vec![
                    ServerName::Prefix("example".to_owned()),
                    ServerName::Exact("example2.com".to_owned()),
                ],
                ca: Some(b"ca".into()),
                client_certificate: Some((b"cert".into(), b"key".into())),
                ..Default::default()
            }),
        ),
        _ => return Err("unknown case".to_owned()),
    };
    let service = zone_egress::ExternalDestination {
        kri: kri(registry::MESH_EXTERNAL_SERVICE, "", "example", "9000"),
        protocol: Protocol::Http,
        endpoints: vec![address],
        tls,
    };
    let internal = InternalAddresses::parse(&["100.64.0.0/16"]);
    let traits = zone_egress::EgressTraits {
        identity: &TlsIdentity::issued("my-identity-secret"),
        internal: &internal,
        reuse_port: false,
        ipv6: false,
        system_ca_path: "",
    };
    let listener = ZoneListener { section: "zone-egress-port".to_owned(), address: "10.0.0.1".to_owned(), port: 10002 };
    holds(zone_egress::generate(&listener, &traits, &[service]).0, golden)
}

/// A whole profile without destinations. Of all policies Kuma has only MeshCircuitBreaker there, which
/// tracks what is left of each cluster's limits.
fn profile_case(case: &str, golden: &Path) -> Result<(), String> {
    let is_transparent = case == "2";
    let certs = admin::AdminCerts { ca: b"caPEM".into(), cert: b"certPEM".into(), key: b"keyPEM".into() };
    let mut set = admin::generate(&admin::Inputs {
        dataplane_address: "192.168.0.1",
        admin_address: "",
        admin_port: 9902,
        admin_socket_path: "",
        readiness_port: 9903,
        readiness_socket_path: "",
        reuse_port: false,
        ipv6: true,
        certs: &certs,
    })
    .map_err(|e| e.to_string())?;
    let passthrough = transparent_proxy::Inputs {
        redirect_port_inbound: 15006,
        redirect_port_outbound: 15001,
        ipv6: false,
        reuse_port: false,
        strict_inbound_ports: None,
    };
    if is_transparent {
        set.append(transparent_proxy::generate(&passthrough));
    }
    let internal = InternalAddresses::parse(&["10.8.0.0/16"]);
    let labels = BTreeMap::new();
    let traits =
        inbound::InboundTraits { labels: &labels, transparent: is_transparent, reuse_port: false, internal: &internal };
    let dataplane: Dataplane = serde_json::from_value(json!({
        "networking": {"address": "192.168.0.1", "inbound": [{"port": 80, "servicePort": 8080}]},
    }))
    .map_err(|e| e.to_string())?;
    let inbounds = dataplane::inbounds(&dataplane);
    set.append(inbound::generate(&inbounds, &traits));
    for cluster in set.clusters.values_mut() {
        let tracking = Thresholds { track_remaining: true, ..Default::default() };
        cluster.cluster.circuit_breakers.get_or_insert_default().thresholds.push(tracking);
    }
    holds(set, golden)
}

#[test]
fn generators_make_what_kumas_make() {
    let Some(dir) = family_dir("generator") else { return };
    let mut tally = Tally::default();
    type Run = fn(&Path, &str, &Path) -> Result<(), String>;
    let with_inputs: [(&str, &str, Run); 4] = [
        ("admin", ".dataplane.input.yaml", admin_case),
        ("direct-access", ".dataplane.input.yaml", direct_access_case),
        ("dns", "-dataplane.input.yaml", dns_case),
        ("inbound-proxy", "-dataplane.input.yaml", inbound_case),
    ];
    for (family, suffix, run) in with_inputs {
        let dir = dir.join(family);
        for (case, input) in stems(&dir, suffix) {
            tally.record(&format!("{family}/{case}"), run(&dir, &case, &input));
        }
    }
    for (case, golden) in stems(&dir.join("transparent-proxy"), ".envoy.golden.yaml") {
        tally.record(&format!("transparent-proxy/{case}"), transparent_case(&case, &golden));
    }
    for (case, golden) in stems(&dir.join("zone-proxy-listener"), ".envoy.golden.yaml") {
        let run = if case.starts_with("ingress") { ingress_case } else { egress_case };
        tally.record(&format!("zone-proxy-listener/{case}"), run(&case, &golden));
    }
    for (case, golden) in stems(&dir.join("default-proxy-profile"), "-envoy-config.golden.yaml") {
        tally.record(&format!("default-proxy-profile/{case}"), profile_case(&case, &golden));
    }
    tally.finish("generator", FLOOR);
}
