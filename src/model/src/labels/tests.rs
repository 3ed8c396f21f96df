//! Tests of the module `labels`.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::registry;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn spec(kind: Kind, raw: serde_json::Value) -> Spec {
    (kind.codec.decode)(raw).expect("decodes")
}

fn computed(kind: Kind, mesh: &str, site: &Site, given: &[(&str, &str)]) -> Labels {
    let spec = spec(kind, json!({}));
    compute(&labels(given), &Subject::new(kind, &spec, mesh, "n"), site).expect("no roles on Universal")
}

#[test]
fn writers_on_universal_get_these_labels() {
    let zone = Site::universal_zone("east");
    let full = labels(&[(DISPLAY_NAME, "n"), (MESH, "m"), (ORIGIN, "zone"), (ZONE, "east"), (ENV, "universal")]);
    assert_eq!(computed(registry::MESH_TIMEOUT, "m", &zone, &[]), full);
    let on_mesh = labels(&[(DISPLAY_NAME, "n"), (ORIGIN, "zone")]);
    assert_eq!(computed(registry::MESH, "", &zone, &[]), on_mesh);
    let multi_zone = labels(&[(DISPLAY_NAME, "n"), (MESH, "m"), (ORIGIN, "zone")]);
    assert_eq!(computed(registry::MESH_MULTI_ZONE_SERVICE, "m", &zone, &[]), multi_zone);
    let global = labels(&[(DISPLAY_NAME, "n"), (MESH, "m"), (ORIGIN, "global"), ("team", "a")]);
    let given = [("team", "a"), (ORIGIN, "zone"), (DISPLAY_NAME, "other")];
    assert_eq!(computed(registry::MESH_TIMEOUT, "m", &Site::Global, &given), global);
}

#[test]
fn dataplanes_show_their_zone_proxy_listeners() {
    let kind = registry::DATAPLANE;
    let spec =
        spec(kind, json!({"networking": {"address": "10.0.0.1", "listeners": [{"type": "ZoneIngress", "port": 1}]}}));
    let given = labels(&[(LISTENER_ZONE_EGRESS, "enabled"), (PROXY_TYPE, "ingress")]);
    let found = compute(&given, &Subject::new(kind, &spec, "m", "n"), &Site::universal_zone("z")).expect("no roles");
    assert_eq!(found.get(LISTENER_ZONE_INGRESS).map(String::as_str), Some("enabled"));
    assert!(!found.contains_key(LISTENER_ZONE_EGRESS) && !found.contains_key(PROXY_TYPE));
}

#[test]
fn roles_follow_namespaces_and_targets() {
    let app = Some(Namespace { name: "app", is_system: false });
    let system = Some(Namespace { name: "kuma-system", is_system: true });
    let producer = json!({"targetRef": {"kind": "MeshService", "labels": {DISPLAY_NAME: "a", NAMESPACE: "app"}}});
    let elsewhere = json!({"targetRef": {"kind": "MeshService", "labels": {DISPLAY_NAME: "a", NAMESPACE: "other"}}});
    let with_zone = json!({"targetRef": {"kind": "MeshService", "labels": {DISPLAY_NAME: "a", ZONE: "z"}}});
    for (to, namespace, expected) in [
        (json!([producer]), app, Ok("producer")),
        (json!([producer]), system, Ok("system")),
        (json!([producer]), None, Ok("system")),
        (json!([elsewhere]), app, Ok("consumer")),
        (json!([with_zone]), app, Ok("consumer")),
        (json!([{"targetRef": {"kind": "Mesh"}}]), app, Ok("consumer")),
        (json!([]), app, Ok("workload-owner")),
        (json!([producer, elsewhere]), app, Err(MixedRoles)),
    ] {
        assert_eq!(role(&spec(registry::MESH_TIMEOUT, json!({"to": to})), namespace), expected, "{to}");
    }
}

#[test]
fn writes_are_checked_in_kumas_words() {
    let federated = Site::Zone { name: "east".to_owned(), federated: true, kubernetes: false };
    let kind = registry::MESH_TIMEOUT;
    for (site, given, expected) in [
        (&federated, vec![(ORIGIN, "zone")], vec![]),
        (&federated, vec![], vec![r#"labels["kuma.io/origin"]: the origin label must be set to 'zone'"#]),
        (
            &Site::Global,
            vec![(ORIGIN, "zone")],
            vec![r#"labels["kuma.io/origin"]: the origin label must be set to 'global'"#],
        ),
        (
            &Site::universal_zone("east"),
            vec![(ORIGIN, "odd"), (ZONE, "west"), (MESH, "other"), (POLICY_ROLE, "producer")],
            vec![
                r#"labels["kuma.io/origin"]: unknown resource origin "odd""#,
                r#"labels["kuma.io/zone"]: kuma.io/zone label should have east value"#,
                r#"labels["kuma.io/mesh"]: kuma.io/mesh label must not differ from mesh set on resource"#,
                r#"labels["kuma.io/policy-role"]: kuma.io/policy-role label should have system value, got producer"#,
            ],
        ),
    ] {
        let found = check_write(kind, "default", &labels(&given), site, true);
        let found: Vec<_> = found.0.iter().map(|v| format!("{}: {}", v.field, v.message)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn the_zone_of_a_resource_is_immutable() {
    let of = |zone: &str| labels(&[(ZONE, zone)]);
    assert!(check_update(&Labels::new(), &of("a")).is_empty());
    assert!(check_update(&of("a"), &of("a")).is_empty());
    let changed = check_update(&of("a"), &of("b"));
    assert_eq!(changed.0[0].message, r#"is immutable, cannot be changed from "a" to "b""#);
    let removed = check_update(&of("z"), &Labels::new());
    assert_eq!(removed.0[0].message, r#"is immutable, cannot be removed (was "z")"#);
}

#[test]
fn label_syntax_is_kubernetes() {
    for (key, value, expected) in [
        ("a.b/c", "d_e.F", vec![]),
        ("a", "", vec![]),
        ("a/b/c", "", vec!["a valid label key must consist of"]),
        ("", "", vec!["name part must be non-empty", "name part must consist of"]),
        ("A_/b", "", vec!["prefix part a lowercase RFC 1123 subdomain"]),
        ("/b", "", vec!["prefix part must be non-empty"]),
        ("a", "-", vec!["a valid label must be an empty string"]),
    ] {
        let found = check_syntax(&labels(&[(key, value)]));
        assert_eq!(found.0.len(), expected.len(), "{key}: {found}");
        for (violation, beginning) in found.0.iter().zip(expected) {
            assert!(violation.message.starts_with(beginning), "{violation:?}");
        }
    }
}

proptest! {
    #[test]
    fn computing_twice_changes_nothing(
        given in proptest::collection::btree_map("(kuma.io/(zone|origin|env|mesh|display-name)|[a-z]{1,5})", "[a-z]{1,5}", 0..6),
        global in any::<bool>(),
    ) {
        let site = if global { Site::Global } else { Site::universal_zone("east") };
        let kind = registry::MESH_TIMEOUT;
        let spec = spec(kind, json!({}));
        let subject = Subject::new(kind, &spec, "m", "n");
        let once = compute(&given, &subject, &site).expect("no roles");
        prop_assert_eq!(compute(&once, &subject, &site).expect("no roles"), once);
    }
}
