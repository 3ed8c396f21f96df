//! Resources that a control plane creates by itself: the default policies of a mesh and the
//! default hostname generators.

use std::collections::BTreeMap;

use crate::descriptor::Kind;
use crate::kinds::duration::GoDuration;
use crate::kinds::hostname_generator::{GeneratorSelector, HostnameGenerator};
use crate::kinds::selector::LabelSelector;
use crate::labels::{self, Site};
use crate::registry;
use crate::resource::Spec;

/// Text in `skipCreatingInitialPolicies` that stands for all policies.
pub const SKIP_ALL: &str = "*";

/// The default policies of a mesh: kind, name and spec. `skip` holds the type names of those that
/// are not wanted, or [`SKIP_ALL`].
pub fn mesh_policies(mesh_name: &str, skip: &[String]) -> Vec<(Kind, String, Spec)> {
    let all = [
        (registry::MESH_TIMEOUT, "mesh-timeout-all", inbound_timeouts()),
        (registry::MESH_TIMEOUT, "mesh-timeout-to-all", outbound_timeouts()),
        (registry::MESH_CIRCUIT_BREAKER, "mesh-circuit-breaker-all", circuit_breakers()),
        (registry::MESH_RETRY, "mesh-retry-all", retries()),
    ];
    let is_skipped = |kind: Kind| skip.iter().any(|name| name == SKIP_ALL || name == kind.name);
    all.into_iter()
        .filter(|(kind, ..)| !is_skipped(*kind))
        .filter_map(|(kind, name, raw)| {
            let spec = (kind.codec.decode)(raw).ok()?;
            Some((kind, format!("{name}-{mesh_name}"), spec))
        })
        .collect()
}

fn to_mesh(conf: serde_json::Value) -> serde_json::Value {
    serde_json::json!({"targetRef": {"kind": "Mesh"}, "to": [{"targetRef": {"kind": "Mesh"}, "default": conf}]})
}

fn inbound_timeouts() -> serde_json::Value {
    serde_json::json!({"targetRef": {"kind": "Mesh"}, "rules": [{"default": {
        "connectionTimeout": "10s",
        "idleTimeout": GoDuration::from_secs(2 * 60 * 60),
        "http": {
            "requestTimeout": "0s",
            "streamIdleTimeout": GoDuration::from_secs(60 * 60),
            "maxStreamDuration": "0s",
        },
    }}]})
}

fn outbound_timeouts() -> serde_json::Value {
    to_mesh(serde_json::json!({
        "connectionTimeout": "5s",
        "idleTimeout": GoDuration::from_secs(60 * 60),
        "http": {"requestTimeout": "15s", "streamIdleTimeout": GoDuration::from_secs(30 * 60)},
    }))
}

fn circuit_breakers() -> serde_json::Value {
    to_mesh(serde_json::json!({"connectionLimits": {
        "maxConnections": 1024,
        "maxPendingRequests": 1024,
        "maxRetries": 3,
        "maxRequests": 1024,
    }}))
}

fn retries() -> serde_json::Value {
    let requests = serde_json::json!({
        "numRetries": 5,
        "perTryTimeout": "16s",
        "backOff": {"baseInterval": "25ms", "maxInterval": "250ms"},
    });
    to_mesh(serde_json::json!({"tcp": {"maxConnectAttempt": 5}, "http": requests, "grpc": requests}))
}

/// A default hostname generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultGenerator {
    /// Its name.
    pub name: &'static str,
    /// Its labels.
    pub labels: crate::meta::Labels,
    /// Its spec.
    pub spec: HostnameGenerator,
}

/// The default hostname generators of a control plane.
pub fn hostname_generators(site: &Site) -> Vec<DefaultGenerator> {
    match site {
        Site::Global => global_generators(),
        Site::Zone { kubernetes, .. } => zone_generators(*kubernetes),
    }
}

fn selector(pairs: &[(&str, &str)]) -> LabelSelector {
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    LabelSelector { match_labels: Some(pairs.collect::<BTreeMap<_, _>>()) }
}

fn mesh_service(pairs: &[(&str, &str)]) -> GeneratorSelector {
    GeneratorSelector { mesh_service: Some(selector(pairs)), ..GeneratorSelector::default() }
}

fn mesh_external_service(pairs: &[(&str, &str)]) -> GeneratorSelector {
    GeneratorSelector { mesh_external_service: Some(selector(pairs)), ..GeneratorSelector::default() }
}

fn mesh_multi_zone_service(pairs: &[(&str, &str)]) -> GeneratorSelector {
    GeneratorSelector { mesh_multi_zone_service: Some(selector(pairs)), ..GeneratorSelector::default() }
}

fn generator(
    name: &'static str,
    selector: GeneratorSelector,
    template: &str,
    labels: &[(&str, &str)],
) -> DefaultGenerator {
    DefaultGenerator {
        name,
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        spec: HostnameGenerator { selector, template: template.to_owned(), extension: None },
    }
}

fn global_generators() -> Vec<DefaultGenerator> {
    let origin = (labels::ORIGIN, labels::ORIGIN_GLOBAL);
    let kubernetes = (labels::ENV, "kubernetes");
    let headless = |value| (labels::IS_HEADLESS_SERVICE, value);
    vec![
        generator(
            "synced-mesh-multi-zone-service",
            mesh_multi_zone_service(&[origin]),
            "{{ .DisplayName }}.mzsvc.mesh.local",
            &[],
        ),
        generator(
            "synced-kube-mesh-service",
            mesh_service(&[origin, headless("false"), kubernetes]),
            "{{ .DisplayName }}.{{ .Namespace }}.svc.{{ .Zone }}.mesh.local",
            &[],
        ),
        generator(
            "synced-headless-kube-mesh-service",
            mesh_service(&[origin, headless("true"), kubernetes]),
            r#"{{ label "statefulset.kubernetes.io/pod-name" }}.{{ label "k8s.kuma.io/service-name" }}.{{ .Namespace }}.svc.{{ .Zone }}.mesh.local"#,
            &[],
        ),
        generator(
            "synced-universal-mesh-service",
            mesh_service(&[origin, (labels::ENV, "universal")]),
            "{{ .DisplayName }}.svc.{{ .Zone }}.mesh.local",
            &[],
        ),
        generator(
            "synced-mesh-external-service",
            mesh_external_service(&[origin]),
            "{{ .DisplayName }}.extsvc.mesh.local",
            &[],
        ),
    ]
}

fn zone_generators(kubernetes: bool) -> Vec<DefaultGenerator> {
    let origin = (labels::ORIGIN, labels::ORIGIN_ZONE);
    let mut generators = vec![generator(
        "local-mesh-external-service",
        mesh_external_service(&[origin]),
        "{{ .DisplayName }}.extsvc.mesh.local",
        &[origin],
    )];
    if !kubernetes {
        generators.push(generator(
            "local-universal-mesh-service",
            mesh_service(&[origin]),
            "{{ .DisplayName }}.svc.mesh.local",
            &[origin],
        ));
    }
    generators
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meshes_get_four_policies_that_pass_admission() {
        let policies = mesh_policies("m", &[]);
        let names: Vec<_> = policies.iter().map(|(_, name, _)| name.as_str()).collect();
        let expected =
            ["mesh-timeout-all-m", "mesh-timeout-to-all-m", "mesh-circuit-breaker-all-m", "mesh-retry-all-m"];
        assert_eq!(names, expected);
        for (kind, name, spec) in policies {
            let raw = serde_json::from_str(spec.json()).expect("JSON");
            let admitted = kind.codec.admit(raw).expect("the schema holds");
            assert_eq!(admitted, spec, "{name}");
            let labels = crate::meta::Labels::new();
            let document = crate::Document { mesh: "m", name: &name, labels: &labels, spec: &spec };
            assert!((kind.codec.validate)(&document).is_empty(), "{name}");
        }
    }

    #[test]
    fn unwanted_policies_are_left_out() {
        let left = |skip: &[&str]| {
            let skip: Vec<_> = skip.iter().map(|name| (*name).to_owned()).collect();
            mesh_policies("m", &skip).len()
        };
        assert_eq!((left(&["MeshTimeout"]), left(&["*"]), left(&["MeshTrace"])), (2, 0, 4));
    }

    #[test]
    fn zones_on_kubernetes_leave_hostnames_of_services_to_the_cluster() {
        let site = |kubernetes| Site::Zone { name: "z".to_owned(), federated: false, kubernetes };
        assert_eq!(hostname_generators(&site(true)).len(), 1);
        assert_eq!(hostname_generators(&site(false)).len(), 2);
        assert_eq!(hostname_generators(&Site::Global).len(), 5);
    }
}
