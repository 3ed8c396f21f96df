//! Tests of TCP routes.

use std::sync::Arc;

use model::kinds::target_ref::BackendRef;
use model::registry::MESH_SERVICE;
use serde_json::{Value, json};

use super::*;
use crate::envoy::endpoint::ClusterLoadAssignment;
use crate::envoy::tcp_proxy::tcp_proxy::ClusterSpecifier;
use crate::generators::outbound::{DestinationPort, OutboundTraits};
use crate::names::Kri;
use crate::policies::destinations::Destinations;
use crate::protocol::Protocol;

/// `db` (tcp), `other` (tcp) and `web` (http), all on port 80.
struct Services;

fn service(name: &str) -> Kri {
    let [mesh, zone, namespace, name, section] = ["m", "", "", name, "80"].map(Into::into);
    Kri { kind: MESH_SERVICE, mesh, zone, namespace, name, section }
}

impl Destinations for Services {
    fn port(&self, kri: &Kri) -> Option<DestinationPort> {
        let protocol = match &*kri.name {
            "db" | "other" => Protocol::Tcp,
            "web" => Protocol::Http,
            _ => return None,
        };
        Some(DestinationPort { kri: kri.clone(), protocol, spiffe_ids: None })
    }

    fn resolve(&self, _namespace: &str, backend: &BackendRef) -> Option<Kri> {
        backend.target.label("kuma.io/display-name").map(service)
    }

    fn load_assignment(&self, cluster: &str, _destination: &Kri) -> Arc<ClusterLoadAssignment> {
        Arc::new(ClusterLoadAssignment { cluster_name: cluster.to_owned(), ..Default::default() })
    }
}

/// The clusters of the listener towards `name`; `None` when there is no listener.
fn clusters(name: &str, refs: Option<Value>, has_http_route: bool) -> Option<Vec<String>> {
    let conf = refs
        .map(|refs| serde_json::from_value(json!({"rules": [{"default": {"backendRefs": refs}}]})).expect("a conf"));
    let rules = TcpRules { conf, namespace: String::new(), has_http_route };
    let outbounds = [Outbound { address: "241.0.0.1".to_owned(), port: 80, destination: service(name) }];
    let traits = OutboundTraits { bind_to_port: false, internal: Default::default(), kuma_tags: None };
    let inputs = OutboundInputs { outbounds: &outbounds, traits: &traits, identity: None, destinations: &Services };
    let mut set = ResourceSet::new();
    generate(&inputs, |_| rules.clone(), &mut set);
    let mut listener = set.listeners.into_values().next()?;
    let specifiers = listener.tcp_proxies_mut().filter_map(|proxy| proxy.cluster_specifier.take());
    Some(
        specifiers
            .flat_map(|specifier| match specifier {
                ClusterSpecifier::Cluster(name) => vec![name],
                ClusterSpecifier::WeightedClusters(many) => {
                    many.clusters.into_iter().map(|c| format!("{}:{}", c.name, c.weight)).collect()
                }
            })
            .collect(),
    )
}

fn backend(name: &str, weight: u32) -> Value {
    json!({"kind": "MeshService", "labels": {"kuma.io/display-name": name}, "weight": weight})
}

fn named(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn without_a_route_connections_go_to_the_destination() {
    assert_eq!(clusters("db", None, false), named(&["kri_msvc_m___db_80"]));
}

#[test]
fn connections_are_split_by_weight_and_missing_backends_are_left_out() {
    let refs = json!([backend("other", 2), backend("gone", 5), backend("web", 1), backend("db", 0)]);
    assert_eq!(clusters("db", Some(refs), false), named(&["kri_msvc_m___other_80:2", "kri_msvc_m___web_80:1"]));
}

#[test]
fn connections_without_any_backend_are_refused() {
    assert_eq!(clusters("db", Some(json!([backend("gone", 1)])), false), named(&[]));
}

#[test]
fn an_http_outbound_is_taken_over_only_without_http_routes() {
    let refs = || Some(json!([backend("db", 1)]));
    assert_eq!(clusters("web", refs(), false), named(&["kri_msvc_m___db_80"]));
    assert_eq!(clusters("web", refs(), true), None);
    assert_eq!(clusters("web", None, false), None);
}
