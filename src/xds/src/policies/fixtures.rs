//! A proxy with one of everything, for the tests of policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{Key, Kind, Kri, Labels, Meta, Resource, Timestamp, registry};
use policy::{Destinations, PolicySet, RuleBook, Rules, Shadow, Subject};
use serde_json::{Value, json};

use super::{Faults, Policy, ProxyTraits, apply};
use crate::bootstrap::{Feature, ProxyMetadata};
use crate::generators::blocks::{cluster_route, prefix_match};
use crate::generators::inbound::{self, Inbound, InboundTraits};
use crate::generators::internal_addresses::InternalAddresses;
use crate::generators::outbound::{self, DestinationPort, Endpoint, Locality, Outbound, OutboundTraits, Split};
use crate::generators::tls::TlsIdentity;
use crate::generators::transparent_proxy;
use crate::json::to_json;
use crate::protocol::Protocol;
use crate::resource_set::{Origin, ResourceSet};

/// A proxy `web` of mesh `m` with an HTTP inbound on port 80 and a TCP inbound `db` on port 81, and
/// with outbounds to the services `api` (HTTP) and `store` (TCP).
pub(super) struct World {
    policies: Vec<Arc<Resource>>,
    extra: Vec<Arc<Resource>>,
    identity: Option<TlsIdentity>,
    labels: Labels,
    /// What it runs before policies.
    pub(super) set: ResourceSet,
    inbounds: Vec<Inbound>,
}

/// A resource of mesh `m`.
fn resource(kind: Kind, name: &str, mut spec: Value) -> Arc<Resource> {
    let key = Key::new(kind, if kind == registry::MESH { "" } else { "m" }, name);
    (kind.codec.default)(&mut spec);
    // Stored by some other version, so not checked.
    let spec = (kind.codec.decode)(spec).unwrap_or_else(|e| panic!("{kind}/{name}: {e}"));
    Arc::new(Resource { key, meta: Meta::new(Timestamp::UNIX_EPOCH), spec, status: None })
}

/// The identifier of a port of a service, as text.
pub(super) fn kri_of(name: &str) -> String {
    kri(name).to_string()
}

fn kri(name: &str) -> Kri {
    Kri::of(&resource(registry::MESH_SERVICE, name, json!({}))).with_section("http")
}

impl World {
    pub(super) fn new() -> Self {
        let inbound = |section: &str, port, protocol| Inbound {
            section: section.to_owned(),
            address: "10.0.0.1".to_owned(),
            port,
            workload_address: "127.0.0.1".to_owned(),
            workload_port: port,
            protocol,
        };
        let inbounds = vec![inbound("80", 80, Protocol::Http), inbound("db", 81, Protocol::Tcp)];
        let labels: Labels = [("app", "web"), ("kuma.io/workload", "shop"), ("kuma.io/zone", "east")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let internal = InternalAddresses::loopback();
        let traits = InboundTraits { labels: &labels, transparent: true, reuse_port: true, internal: &internal };
        let mut set = inbound::generate(&inbounds, &traits);
        set.append(transparent_proxy::generate(&passthrough()));
        let mut world =
            Self { policies: Vec::new(), extra: Vec::new(), identity: None, labels, set: ResourceSet::new(), inbounds };
        let identity = Some(TlsIdentity::issued("kri_mid_m___id_"));
        add_outbounds(&mut set, identity.as_ref());
        world.set = set;
        world.identity = identity;
        world
    }

    /// The proxy without an identity.
    pub(super) fn plaintext(mut self) -> Self {
        self.identity = None;
        self
    }

    /// With this policy. Policies are named `a`, `b`, … in the order in which they are given.
    pub(super) fn policy(mut self, kind: Kind, spec: Value) -> Self {
        let name = char::from(b'a' + u8::try_from(self.policies.len()).expect("few")).to_string();
        self.policies.push(resource(kind, &name, spec));
        self
    }

    /// With this resource beside the services.
    pub(super) fn with(mut self, kind: Kind, name: &str, spec: Value) -> Self {
        self.extra.push(resource(kind, name, spec));
        self
    }

    fn rules(&self) -> BTreeMap<Kind, Rules> {
        let ports = json!({"ports": [{"port": 80, "name": "http"}]});
        let services = ["api", "store"].map(|name| resource(registry::MESH_SERVICE, name, ports.clone()));
        let mesh = [resource(registry::MESH, "m", json!({}))];
        let destinations = Arc::new(Destinations::new(services.iter().chain(&mesh).chain(&self.extra)));
        let dataplane =
            json!({"networking": {"address": "10.0.0.1", "inbound": [{"port": 80}, {"port": 81, "name": "db"}]}});
        let subject = Subject::read(&resource(registry::DATAPLANE, "web", dataplane)).expect("a dataplane");
        let kinds: BTreeSet<_> = self.policies.iter().map(|policy| policy.key.kind).collect();
        let rules = kinds.into_iter().map(|kind| {
            let set = Arc::new(PolicySet::new(kind, &self.policies));
            (kind, RuleBook::new(set, Arc::clone(&destinations)).rules(&subject, Shadow::Excluded))
        });
        rules.collect()
    }

    /// What the proxy runs after this one policy, and what could not be applied.
    pub(super) fn edited_by(mut self, policy: Policy) -> (ResourceSet, Faults) {
        let mut rules = self.rules();
        let own = rules.remove(&policy.kind).unwrap_or_else(|| Rules::none(policy.kind));
        let mut set = std::mem::take(&mut self.set);
        let mut faults = Faults::default();
        let shared = shared_traits();
        let proxy = self.traits(&shared);
        (policy.edit)(&mut super::Edit { rules: &own, proxy: &proxy, set: &mut set, faults: &mut faults });
        (set, faults)
    }

    /// What the proxy runs when only the telemetry that policies ask for is planned.
    pub(super) fn planned(mut self) -> ResourceSet {
        let rules = self.rules();
        let mut set = std::mem::take(&mut self.set);
        super::otel::publish(&rules, &self.traits(&shared_traits()), &mut set);
        set
    }

    /// What the proxy runs after all policies.
    pub(super) fn edited(mut self) -> ResourceSet {
        let rules = self.rules();
        let mut set = std::mem::take(&mut self.set);
        apply(&rules, &self.traits(&shared_traits()), &mut set, &mut Faults::default());
        set
    }

    fn traits<'a>(&'a self, shared: &'a Shared) -> ProxyTraits<'a> {
        ProxyTraits {
            mesh: "m",
            name: "web",
            address: "10.0.0.1",
            labels: &self.labels,
            gateway_tags: &shared.gateway_tags,
            zone: "east",
            identity: self.identity.as_ref(),
            trust_domains: &shared.trust_domains,
            inbounds: &self.inbounds,
            is_gateway: false,
            zone_listeners: &[],
            zone_origins: &shared.zone_origins,
            passthrough: Some(&shared.passthrough),
            internal: &shared.internal,
            strict_inbound_ports: true,
            metadata: &shared.metadata,
            otel_backends: &shared.otel_backends,
        }
    }
}

struct Shared {
    gateway_tags: BTreeMap<String, String>,
    trust_domains: BTreeSet<String>,
    passthrough: transparent_proxy::Inputs,
    internal: InternalAddresses,
    zone_origins: BTreeSet<Origin>,
    metadata: ProxyMetadata,
    otel_backends: Vec<Arc<Resource>>,
}

fn shared_traits() -> Shared {
    Shared {
        gateway_tags: BTreeMap::new(),
        trust_domains: ["td.local".to_owned()].into(),
        passthrough: passthrough(),
        internal: InternalAddresses::loopback(),
        zone_origins: BTreeSet::new(),
        metadata: ProxyMetadata {
            work_dir: "/tmp".to_owned(),
            features: [Feature::OtelViaKumaDp.flag().to_owned(), Feature::ReusePort.flag().to_owned()].into(),
            ..Default::default()
        },
        otel_backends: vec![resource(
            registry::MESH_OPEN_TELEMETRY_BACKEND,
            "collector",
            json!({"endpoint": {"address": "otel.obs", "port": 4317}}),
        )],
    }
}

fn passthrough() -> transparent_proxy::Inputs {
    transparent_proxy::Inputs {
        redirect_port_inbound: 15006,
        redirect_port_outbound: 15001,
        ipv6: false,
        reuse_port: true,
        strict_inbound_ports: None,
    }
}

fn add_outbounds(set: &mut ResourceSet, identity: Option<&TlsIdentity>) {
    let traits = OutboundTraits { bind_to_port: false, internal: InternalAddresses::loopback(), kuma_tags: None };
    for (name, protocol) in [("api", Protocol::Http), ("store", Protocol::Tcp)] {
        let kri = kri(name);
        let spiffe_ids = Some(Arc::new([format!("spiffe://td.local/{name}")].into()));
        let port = DestinationPort { kri: kri.clone(), protocol, spiffe_ids };
        let outbound = Outbound { address: "241.0.0.1".to_owned(), port: 80, destination: kri.clone() };
        let cluster = kri.to_string();
        let listener = if protocol.is_http() {
            let mut route = cluster_route(prefix_match("/"), &cluster);
            route.name = format!("{}rule_0", Kri::of(&resource(registry::MESH_HTTP_ROUTE, "r", json!({}))));
            let catch_all = cluster_route(prefix_match("/"), &cluster);
            outbound::http_listener(&outbound, protocol, &traits, vec![route, catch_all])
        } else {
            let split = Split { cluster, weight: 1, external: false };
            outbound::tcp_listener(&outbound, protocol, &traits, &[split])
        };
        set.add_listener(listener);
        set.add_cluster(outbound::cluster(&kri, &port, identity).expect("a server name"));
        set.add_endpoints(outbound::endpoints(&kri, &kri, &endpoints()));
    }
}

/// Two endpoints in the own zone, one in each of two others.
fn endpoints() -> Vec<Endpoint> {
    let endpoint = |address: &str, zone: &str, node: &str| Endpoint {
        address: address.to_owned(),
        port: 8080,
        weight: 1,
        tags: [("kuma.io/zone".to_owned(), zone.to_owned()), ("node".to_owned(), node.to_owned())].into(),
        locality: Some(Locality { zone: zone.to_owned(), ..Default::default() }),
    };
    vec![
        endpoint("10.1.0.1", "east", "n1"),
        endpoint("10.1.0.2", "east", "n2"),
        endpoint("10.2.0.1", "west", "n3"),
        endpoint("10.3.0.1", "north", "n4"),
    ]
}

/// A listener as JSON.
pub(super) fn listener(set: &ResourceSet, name: &str) -> Value {
    to_json(&set.listeners[name].clone().pack()).expect("JSON")
}

/// A cluster as JSON.
pub(super) fn cluster(set: &ResourceSet, name: &str) -> Value {
    to_json(&set.clusters[name].clone().pack()).expect("JSON")
}

/// The endpoints of a cluster as JSON.
pub(super) fn load_assignment(set: &ResourceSet, name: &str) -> Value {
    to_json(&*set.endpoints[name].endpoints).expect("JSON")
}
