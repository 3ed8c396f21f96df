//! Tests of the module `document`.

use expect_test::expect;
use serde_json::json;

use super::*;
use crate::{Key, Meta, Resource, Timestamp, registry};

fn stored(kind: Kind, mesh: &str, name: &str, labels: &[(&str, &str)], raw: Value) -> Resource {
    let time: Timestamp = "2018-07-17T16:05:36.995Z".parse().expect("a time");
    let mut meta = Meta::new(time);
    meta.labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let spec = kind.codec.admit(raw).expect("admitted");
    Resource { key: Key::new(kind, mesh, name), meta, spec, status: None }
}

#[test]
fn plugin_kinds_render_spec_and_status_in_order() {
    let raw = json!({"ports": [{"port": 80, "name": "http", "targetPort": 8080, "appProtocol": "http"}]});
    let service = stored(registry::MESH_SERVICE, "default", "backend", &[("kuma.io/zone", "east")], raw);
    expect![[r#"{"type":"MeshService","mesh":"default","name":"backend","creationTime":"2018-07-17T16:05:36.995Z","modificationTime":"2018-07-17T16:05:36.995Z","labels":{"kuma.io/zone":"east"},"kri":"kri_msvc_default_east__backend_","snis":[{"port":80,"sni":"sni.msvc.default.east.backend.http"}],"spec":{"state":"Unavailable","selector":{},"ports":[{"name":"http","port":80,"targetPort":8080,"appProtocol":"http"}]},"status":{"tls":{},"dataplaneProxies":{}}}"#]]
    .assert_eq(&render(&service));
}

#[test]
fn proto_kinds_render_their_fields_beside_the_metadata() {
    let mesh = stored(registry::MESH, "", "default", &[], json!({"skipCreatingInitialPolicies": ["*"]}));
    expect![[r#"{"type":"Mesh","name":"default","creationTime":"2018-07-17T16:05:36.995Z","modificationTime":"2018-07-17T16:05:36.995Z","kri":"kri_m____default_","skipCreatingInitialPolicies":["*"]}"#]]
    .assert_eq(&render(&mesh));
    let zone = stored(registry::ZONE, "", "east", &[], json!({}));
    expect![[r#"{"type":"ZoneOverview","name":"east","creationTime":"2018-07-17T16:05:36.995Z","modificationTime":"2018-07-17T16:05:36.995Z","kri":"kri_z____east_","zone":{}}"#]]
    .assert_eq(&render_overview(&zone, None));
    let secret = stored(registry::SECRET, "default", "s", &[], json!({"data": "dGVzdA=="}));
    assert!(render(&secret).ends_with(r#","data":"dGVzdA=="}"#));
}

#[test]
fn kubernetes_objects_carry_the_mesh_where_their_kind_does() {
    let policy = stored(
        registry::MESH_TIMEOUT,
        "default",
        "t",
        &[("kuma.io/display-name", "t")],
        json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "90s"}}]}),
    );
    assert_eq!(
        render_kubernetes(&policy, "kuma-system"),
        json!({"apiVersion": "kuma.io/v1alpha1", "kind": "MeshTimeout",
            "metadata": {"name": "t", "namespace": "kuma-system", "creationTimestamp": "2018-07-17T16:05:36Z",
                "labels": {"kuma.io/mesh": "default"}, "annotations": {"kuma.io/display-name": "t"}},
            "spec": {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "1m30s"}}]}})
    );
    let secret = stored(registry::GLOBAL_SECRET, "", "s", &[], json!({"data": "dGVzdA=="}));
    assert_eq!(
        render_kubernetes(&secret, "kuma-system"),
        json!({"apiVersion": "v1", "kind": "Secret", "type": "system.kuma.io/global-secret", "data": {"value": "dGVzdA=="},
            "metadata": {"name": "s", "namespace": "kuma-system", "creationTimestamp": "2018-07-17T16:05:36Z"}})
    );
}

#[test]
fn what_is_rendered_is_read_back() {
    let raw = json!({"selector": {"dataplaneLabels": {"matchLabels": {"app": "a"}}}, "ports": [{"port": 80}]});
    for resource in [
        stored(registry::MESH_SERVICE, "default", "backend", &[("a", "b")], raw),
        stored(registry::DATAPLANE, "default", "dp", &[("a", "b")], json!({"networking": {"address": "10.0.0.1"}})),
    ] {
        let kind = resource.key.kind;
        let submission = Submission::read_json(kind, &render(&resource)).expect("read");
        assert_eq!(submission.spec, resource.spec);
        assert_eq!(submission.labels, resource.meta.labels);
        assert_eq!((&*submission.mesh, &*submission.name), (&*resource.key.mesh, &*resource.key.name));
    }
}

#[test]
fn faults_of_metadata_are_told() {
    let faults = |kind, document| match Submission::read(kind, document) {
        Err(DecodeError::Invalid(violations)) => violations.to_string(),
        other => format!("{other:?}"),
    };
    let policy = registry::MESH_TIMEOUT;
    assert_eq!(
        faults(policy, json!({"type": "Other", "labels": {"a": 1}, "spec": {}})),
        r#": .name in body is required; : labels.a in body must be of type string: "number"; : type in body should be one of [MeshTimeout]"#
    );
    let submission = Submission::read(policy, json!({"type": "MeshTimeout", "name": "n", "spec": {}}));
    assert_eq!(submission.expect("read").mesh, "default");
    let broken = Submission::read_json(registry::DATAPLANE, "{,").expect_err("not JSON");
    assert_eq!(broken.to_string(), "invalid character ',' looking for beginning of object key string");
    let wrong = Submission::read(registry::MESH, json!({"name": 1}));
    assert_eq!(
        wrong.expect_err("a number is no name").to_string(),
        "json: cannot unmarshal number into Go struct field ResourceMeta.name of type string"
    );
}
