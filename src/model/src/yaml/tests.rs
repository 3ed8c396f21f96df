//! Tests of the module `yaml`.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn yaml_is_read_as_version_1_1() {
    for (text, expected) in [
        (
            "a: yes\nb: off\nc: 0644\nd: 0x1F\ne: 1.5\nf: ~\n",
            json!({"a": true, "b": false, "c": 420, "d": 31, "e": 1.5, "f": null}),
        ),
        ("a: \"yes\"\nb: '1'\nc: 2020-01-01\n", json!({"a": "yes", "b": "1", "c": "2020-01-01"})),
        ("base: &b {x: 1}\nmore: {<<: *b, y: 2}\n", json!({"base": {"x": 1}, "more": {"x": 1, "y": 2}})),
        ("a: 1\na: 2\n", json!({"a": 2})),
        ("1: a\ntrue: b\n", json!({"1": "a", "true": "b"})),
        ("a: |\n  x\n  y\n", json!({"a": "x\ny\n"})),
        (r#"{"type": "Mesh", "name": "default"}"#, json!({"type": "Mesh", "name": "default"})),
    ] {
        assert_eq!(read(text), Ok(expected), "{text}");
    }
}

#[test]
fn documents_are_separated_and_empty_ones_left_out() {
    let documents = read_all("---\na: 1\n---\n# nothing\n---\nb: 2\n").expect("three documents");
    assert_eq!(documents, [json!({"a": 1}), json!({"b": 2})]);
    assert!(read_all("").expect("no document").is_empty());
}

#[test]
fn malformed_text_is_refused() {
    for text in ["a: [1", "a: b: c"] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn yaml_is_written_as_the_field_does() {
    let value = json!({
        "type": "Dataplane",
        "networking": {"inbound": [{"port": 80, "tags": {}}, {"port": 81, "list": [[1], "two"]}], "none": []},
        "times": "0001-01-01T00:00:00Z",
        "words": ["yes", "*", "a: b", "plain text", "10", "1.5e3", "it's", "- x", "", "null", "x#y", "@a", "%", "15m0s", "10.0.0.1", "a\tb"],
        "pem": "line\nline\n",
        "open": "line\nline",
        "nothing": null,
    });
    expect_test::expect![[r#"
        networking:
          inbound:
          - port: 80
            tags: {}
          - list:
            - - 1
            - two
            port: 81
          none: []
        nothing: null
        open: |-
          line
          line
        pem: |
          line
          line
        times: "0001-01-01T00:00:00Z"
        type: Dataplane
        words:
        - "yes"
        - '*'
        - 'a: b'
        - plain text
        - "10"
        - "1.5e3"
        - it's
        - '- x'
        - ""
        - "null"
        - x#y
        - '@a'
        - '%'
        - 15m0s
        - 10.0.0.1
        - "a\tb"
    "#]]
    .assert_eq(&to_string(&value));
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -~]{0,12}",
        "[a-z\\n -]{0,12}",
        any::<String>().prop_map(|text| text.chars().filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()),
        proptest::sample::select(vec!["yes", "0x1", "1e3", "~", "<<", "2001-01-01", "1:20", "=", "- ", "|", "..."])
            .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-zA-Z0-9/._ -]{1,8}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in any_json()) {
        // A document that is null alone counts as empty.
        let value = json!({"value": value});
        let text = to_string(&value);
        prop_assert_eq!(read(&text), Ok(value), "{}", text);
    }
}
