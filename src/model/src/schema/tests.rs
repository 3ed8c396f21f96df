//! Tests of the module `schema`.

use serde_json::json;

use super::*;

fn sample() -> Schema {
    object([
        ("kind", choice(&["Mesh", "Dataplane"])),
        ("name", string().min_len(1).max_len(3).pattern("^[a-z]+$")),
        ("port", int32().at_least(1).at_most(65535)),
        ("weight", integer().default_to(1).at_least(0).at_most(u32::MAX)),
        ("code", integer().one_of(&[301, 302]).default_to(302)),
        ("share", int_or_string()),
        ("on", boolean()),
        ("labels", map(string())),
        (
            "list",
            array(object([("a", string()), ("b", string().default_to("x"))]).required(&["a"]))
                .min_items(1)
                .max_items(2),
        ),
    ])
    .required(&["kind"])
}

#[test]
fn faults_are_told_in_the_words_of_openapi() {
    for (spec, expected) in [
        (json!({"kind": "Mesh", "weight": 4_294_967_295_u32, "share": "5", "port": 1.0}), vec![]),
        (json!({"kind": "Odd"}), vec!["spec.kind in body should be one of [Mesh Dataplane]"]),
        (json!({}), vec!["spec.kind in body is required"]),
        (json!("x"), vec![r#"spec in body must be of type object: "string""#]),
        (
            json!({"kind": 1}),
            vec![
                r#"spec.kind in body must be of type string: "number""#,
                "spec.kind in body should be one of [Mesh Dataplane]",
            ],
        ),
        (
            json!({"kind": "Mesh", "name": ""}),
            vec!["spec.name in body should be at least 1 chars long", "spec.name in body should match '^[a-z]+$'"],
        ),
        (json!({"kind": "Mesh", "name": "abcd"}), vec!["spec.name in body should be at most 3 chars long"]),
        (json!({"kind": "Mesh", "port": 0}), vec!["spec.port in body should be greater than or equal to 1"]),
        (json!({"kind": "Mesh", "port": "80"}), vec![r#"spec.port in body must be of type integer: "string""#]),
        (json!({"kind": "Mesh", "port": 1.5}), vec![r#"spec.port in body must be of type int32: "double""#]),
        (json!({"kind": "Mesh", "port": true}), vec![r#"spec.port in body must be of type int32: """#]),
        (json!({"kind": "Mesh", "port": null}), vec![r#"spec.port in body must be of type integer: "null""#]),
        (
            json!({"kind": "Mesh", "weight": 4_294_967_296_u64}),
            vec!["spec.weight in body should be less than or equal to 4.294967295e+09"],
        ),
        (json!({"kind": "Mesh", "code": 303}), vec!["spec.code in body should be one of [301 302]"]),
        (
            json!({"kind": "Mesh", "share": true}),
            vec![
                r#""spec.share" must validate at least one schema (anyOf)"#,
                r#"spec.share in body must be of type integer: "boolean""#,
            ],
        ),
        (
            json!({"kind": "Mesh", "labels": {"a": 1}}),
            vec![r#"spec.labels.a in body must be of type string: "number""#],
        ),
        (json!({"kind": "Mesh", "list": []}), vec!["spec.list in body should have at least 1 items"]),
        (
            json!({"kind": "Mesh", "list": [{}, {"a": "1"}, {"a": false}]}),
            vec![
                "spec.list in body should have at most 2 items",
                "spec.list[0].a in body is required",
                r#"spec.list[2].a in body must be of type string: "boolean""#,
            ],
        ),
    ] {
        let mut faults = Faults::default();
        sample().check("spec", &spec, &mut faults);
        let found: Vec<&str> = faults.0.iter().map(String::as_str).collect();
        assert_eq!(found, expected, "{spec}");
    }
}

#[test]
fn fields_below_spec_are_split_off() {
    let violations = sample().violations(&json!({"kind": "Odd", "share": false}));
    let found: Vec<_> = violations.0.iter().map(|v| (v.field.as_str(), v.message.as_str())).collect();
    assert_eq!(
        found,
        [
            ("", r#""spec.share" must validate at least one schema (anyOf)"#),
            ("spec.kind", "in body should be one of [Mesh Dataplane]"),
            ("spec.share", r#"in body must be of type integer: "boolean""#),
        ]
    );
}

#[test]
fn defaults_are_filled_where_objects_are() {
    let mut spec = json!({"kind": "Mesh", "weight": null, "list": [{"a": "1"}, {"a": "2", "b": "y"}]});
    sample().fill(&mut spec);
    assert_eq!(
        spec,
        json!({"kind": "Mesh", "weight": 1, "code": 302, "list": [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]})
    );
    sample().fill(&mut spec.clone());
}
