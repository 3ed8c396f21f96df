//! Backends of routes.

use std::sync::Arc;

use model::Kri;
use model::{Resource, Timestamp, registry};
use policy::{Destinations, backend};
use serde_json::{Value, json};

use crate::fixtures::{resource, service};

fn created(resource: Arc<Resource>, seconds: i64) -> Arc<Resource> {
    let mut resource = (*resource).clone();
    resource.meta.creation_time = Timestamp::from_second(seconds).expect("a time");
    Arc::new(resource)
}

fn resolved(namespace: &str, reference: Value, destinations: &[Arc<Resource>]) -> Option<String> {
    let reference = serde_json::from_value(reference).expect("a backend");
    backend::resolve(namespace, &reference, &Destinations::new(destinations)).map(|found| found.kri.to_string())
}

#[test]
fn a_name_without_namespace_means_the_own_one() {
    let services = [service("b.a", &["display=b", "ns=a"]), service("b.b", &["display=b", "ns=b"])];
    let by_name = json!({"kind": "MeshService", "labels": {"kuma.io/display-name": "b"}, "port": 80});
    assert_eq!(resolved("b", by_name.clone(), &services), Some("kri_msvc_m__b_b_80".to_owned()));
    assert_eq!(resolved("", by_name.clone(), &services), Some("kri_msvc_m__a_b_80".to_owned()));
    assert_eq!(resolved("c", by_name, &services), None);
}

#[test]
fn the_oldest_of_several_is_taken_whatever_the_order() {
    let mut services = vec![
        created(service("young", &["team=x"]), 20),
        created(service("old-b", &["team=x"]), 10),
        created(service("old-a", &["team=x"]), 10),
    ];
    let by_label = json!({"kind": "MeshService", "labels": {"team": "x"}});
    assert_eq!(resolved("", by_label.clone(), &services), Some("kri_msvc_m___old-a_".to_owned()));
    services.reverse();
    assert_eq!(resolved("", by_label, &services), Some("kri_msvc_m___old-a_".to_owned()));
}

#[test]
fn only_destinations_with_labels_resolve() {
    let services = [service("b", &[])];
    assert_eq!(resolved("", json!({"kind": "MeshService"}), &services), None);
    assert_eq!(resolved("", json!({"kind": "Mesh", "labels": {"kuma.io/display-name": "b"}}), &services), None);
}

#[test]
fn ports_are_found_by_name_number_or_for_being_alone() {
    let external = resource(registry::MESH_EXTERNAL_SERVICE, "e", &[], json!({"match": {"port": 443}}));
    let one = resource(registry::MESH_SERVICE, "one", &[], json!({"ports": [{"port": 80, "name": "http"}]}));
    let all = Destinations::new([&service("two", &[]), &one, &external]);
    let port = |text: &str| {
        let kri = Kri::parse(text).expect("an identifier");
        all.get(&kri).and_then(|destination| destination.port_of_backend(&kri.section)).map(|port| port.number)
    };
    assert_eq!(port("kri_msvc_m___two_80"), Some(80));
    assert_eq!(port("kri_msvc_m___two_http"), Some(80));
    assert_eq!(port("kri_msvc_m___two_"), None);
    assert_eq!(port("kri_msvc_m___one_"), Some(80));
    assert_eq!(port("kri_msvc_m___one_8080"), None);
    assert_eq!(port("kri_extsvc_m___e_any"), Some(443));
    let section = |text: &str| all.with_policy_section(&Kri::parse(text).expect("an identifier")).to_string();
    assert_eq!(section("kri_msvc_m___two_80"), "kri_msvc_m___two_http");
    assert_eq!(section("kri_msvc_m___two_81"), "kri_msvc_m___two_81");
    assert_eq!(section("kri_msvc_m___gone_80"), "kri_msvc_m___gone_80");
}

#[test]
fn a_destination_can_be_replaced_and_removed() {
    let mut all = Destinations::new([&service("b", &["team=x"])]);
    all.put(&service("b", &["team=y"]));
    let count = |all: &Destinations, label: (&str, &str)| {
        all.select(registry::MESH_SERVICE, &[(label.0.to_owned(), label.1.to_owned())].into()).len()
    };
    assert_eq!((count(&all, ("team", "x")), count(&all, ("team", "y"))), (0, 1));
    assert_eq!(count(&all, ("kuma.io/display-name", "b")), 1);
    all.remove(&service("b", &[]).key);
    assert_eq!(count(&all, ("kuma.io/display-name", "b")), 0);
}
