//! The hash by which Kuma names the matches of an HTTP route's rule.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The standard base64 of the SHA-256 of the matches' JSON, written as Go writes it: fields in the
/// order of Kuma's types, empty ones left out, `<`, `>` and `&` escaped.
pub fn matches_hash(matches: &Value) -> String {
    STANDARD.encode(Sha256::digest(go_json(matches)))
}

const MATCH: &[Field] = &[
    Field { name: "path", inner: Some(&[Field::leaf("value"), Field::leaf("type")]) },
    Field::leaf("method"),
    Field { name: "queryParams", inner: Some(&[Field::leaf("type"), Field::leaf("name"), Field::leaf("value")]) },
    Field { name: "headers", inner: Some(&[Field::leaf("type"), Field::leaf("name"), Field::leaf("value")]) },
];

struct Field {
    name: &'static str,
    inner: Option<&'static [Field]>,
}

impl Field {
    const fn leaf(name: &'static str) -> Self {
        Self { name, inner: None }
    }
}

fn go_json(matches: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, matches, MATCH);
    out
}

fn write_value(out: &mut String, value: &Value, fields: &[Field]) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(out, item, fields);
            }
            out.push(']');
        }
        Value::Object(object) => {
            out.push('{');
            let mut first = true;
            for field in fields {
                let Some(value) = object.get(field.name).filter(|value| !is_empty(value)) else { continue };
                if !first {
                    out.push(',');
                }
                first = false;
                out.push_str(&format!("\"{}\":", field.name));
                write_value(out, value, field.inner.unwrap_or_default());
            }
            out.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&escaped(value)),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => false,
    }
}

fn escaped(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_catch_all_match_has_kumas_hash() {
        let matches = json!([{"path": {"type": "PathPrefix", "value": "/"}}]);
        assert_eq!(matches_hash(&matches), "9Zuf5Tg79OuZcQITwBbQykxAk2u4fRKrwYn3//AL4Yo=");
    }

    #[test]
    fn fields_are_written_in_kumas_order() {
        let matches = json!([{
            "headers": [{"value": "<a&b>", "name": "x", "type": "Exact"}],
            "queryParams": [{"name": "q", "type": "Exact", "value": "1"}],
            "method": "GET",
            "path": {"type": "Exact", "value": "/a"}
        }]);
        assert_eq!(
            go_json(&matches),
            r#"[{"path":{"value":"/a","type":"Exact"},"method":"GET","queryParams":[{"type":"Exact","name":"q","value":"1"}],"headers":[{"type":"Exact","name":"x","value":"\u003ca\u0026b\u003e"}]}]"#
        );
    }
}
