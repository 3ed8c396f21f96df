//! JSON as Kuma's API writes it: one space of indentation, a newline at the end, fields in the
//! order in which they were given.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};
use serde::Serialize;

/// Re-indents compact JSON by one space a level and ends it with a newline. Text and order of
/// fields stay; the input must be valid JSON without white space between tokens.
pub(crate) fn indent(compact: &str) -> String {
    let mut out = String::with_capacity(compact.len() * 2);
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut previous = ' ';
    for c in compact.chars() {
        if in_string {
            out.push(c);
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == '"' {
                in_string = false;
            }
            previous = c;
            continue;
        }
        if matches!(previous, '{' | '[') && !matches!(c, '}' | ']') {
            depth += 1;
            line(&mut out, depth);
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '}' | ']' => {
                if !matches!(previous, '{' | '[') {
                    depth = depth.saturating_sub(1);
                    line(&mut out, depth);
                }
                out.push(c);
            }
            _ => out.push(c),
        }
        // A string that ends in a bracket must not be taken for one.
        previous = if c == '"' { ' ' } else { c };
    }
    out.push('\n');
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', depth));
}

/// An answer with this text as JSON.
pub(crate) fn response_of(text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer with this compact JSON, indented.
pub(crate) fn document(compact: &str) -> Response {
    response_of(indent(compact))
}

/// An answer with this value as indented JSON.
pub(crate) fn response(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(compact) => document(&compact),
        Err(error) => crate::errors::Problem::internal("Could not write the answer", error).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_quotes_in_strings_are_text() {
        let compact = r#"{"a":"x{\"[","b":[],"c":{},"d":["]",{"e":1}]}"#;
        let pretty = indent(compact);
        assert_eq!(
            pretty,
            "{\n \"a\": \"x{\\\"[\",\n \"b\": [],\n \"c\": {},\n \"d\": [\n  \"]\",\n  {\n   \"e\": 1\n  }\n ]\n}\n"
        );
        let (a, b): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(compact).unwrap(), serde_json::from_str(&pretty).unwrap());
        assert_eq!(a, b);
    }
}
