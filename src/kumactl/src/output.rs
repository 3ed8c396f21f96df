//! How results are shown: columns, JSON, YAML, ages.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// Columns for people: each cell padded to the widest of its column and three more spaces, the last
/// one not padded.
pub(crate) fn table(headers: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(headers.get(column).map(|header| header.len())).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..headers.len()).map(width).collect();
    let mut out = String::new();
    let header_row: Vec<String> = headers.iter().map(|header| (*header).to_owned()).collect();
    for row in std::iter::once(&header_row).chain(rows) {
        for (column, cell) in row.iter().enumerate() {
            if column + 1 == row.len() {
                out.push_str(cell);
            } else {
                let _ = write!(out, "{cell:<width$}   ", width = widths[column]);
            }
        }
        out.push('\n');
    }
    out
}

/// Go's longest duration in years: what the age of the zero time comes to.
const AGE_MAX_YEARS: i64 = 292;

/// How long ago a time was, in its largest unit.
pub(crate) fn ago(time: Option<Timestamp>, now: Timestamp) -> String {
    let Some(time) = time else { return "never".to_owned() };
    let seconds = now.as_second() - time.as_second();
    match seconds {
        i64::MIN..-1 => "never".to_owned(),
        -1..1 => "0s".to_owned(),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        86_400..31_536_000 => format!("{}d", seconds / 86_400),
        _ => format!("{}y", (seconds / 31_536_000).min(AGE_MAX_YEARS)),
    }
}

/// The time of a field of a document.
pub(crate) fn time(value: Option<&Value>) -> Option<Timestamp> {
    value?.as_str()?.parse().ok()
}

/// Date and time in the local zone, or `-`.
pub(crate) fn date(time: Option<Timestamp>) -> String {
    match time {
        Some(time) => time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => "-".to_owned(),
    }
}

/// JSON text with two spaces of indentation; the order of its fields stays.
pub(crate) fn indent(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut chars = json.chars().peekable();
    let mut in_text = false;
    let break_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = chars.next() {
        if in_text {
            out.push(c);
            match c {
                '\\' => out.extend(chars.next()),
                '"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match c {
            '"' => {
                in_text = true;
                out.push(c);
            }
            '{' | '[' => {
                while chars.peek().is_some_and(|c| c.is_whitespace()) {
                    chars.next();
                }
                out.push(c);
                if let Some(close) = chars.next_if(|next| matches!((c, next), ('{', '}') | ('[', ']'))) {
                    out.push(close);
                } else {
                    depth += 1;
                    break_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_whitespace() => {}
            c => out.push(c),
        }
    }
    out.push('\n');
    out
}

/// Fields of a document that are metadata.
const METADATA: &[&str] = &["type", "mesh", "name", "creationTime", "modificationTime", "labels", "kri"];

/// One resource as YAML: sorted, but for protobuf-born kinds the metadata stands before the spec.
pub(crate) fn resource_yaml(document: &Value, is_proto: bool) -> String {
    let Value::Object(fields) = document else { return model::yaml::to_string(document) };
    if !is_proto {
        return model::yaml::to_string(document);
    }
    let (meta, spec): (Map<_, _>, Map<_, _>) =
        fields.clone().into_iter().partition(|(name, _)| METADATA.contains(&name.as_str()));
    let mut out = model::yaml::to_string(&Value::Object(meta));
    if !spec.is_empty() {
        out.push_str(&model::yaml::to_string(&Value::Object(spec)));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["default".to_owned(), "x".to_owned()], vec!["m".to_owned(), "long".to_owned()]];
        assert_eq!(table(&["MESH", "NAME"], &rows), "MESH      NAME\ndefault   x\nm         long\n");
        assert_eq!(table(&["NAME", "AGE"], &[]), "NAME   AGE\n");
    }

    #[test]
    fn ages_are_truncated_to_their_largest_unit() {
        let now: Timestamp = "2026-01-10T12:00:00Z".parse().unwrap();
        let age = |time: &str| ago(Some(time.parse().unwrap()), now);
        assert_eq!(age("2026-01-10T11:59:30Z"), "30s");
        assert_eq!(age("2026-01-10T11:00:01Z"), "59m");
        assert_eq!(age("2026-01-08T12:00:00Z"), "2d");
        assert_eq!(age("0001-01-01T00:00:00Z"), "292y");
        assert_eq!(age("2027-01-01T00:00:00Z"), "never");
        assert_eq!(ago(None, now), "never");
    }

    #[test]
    fn json_keeps_its_order() {
        let text = r#"{"b":[1,{"x":"a{,:\"}"}],"a":{},"c":[ ],"d":null}"#;
        let expected = "{\n  \"b\": [\n    1,\n    {\n      \"x\": \"a{,:\\\"}\"\n    }\n  ],\n  \"a\": {},\n  \
                        \"c\": [],\n  \"d\": null\n}\n";
        assert_eq!(indent(text), expected);
    }

    #[test]
    fn metadata_stands_before_the_spec_of_proto_kinds() {
        let document = json!({"type": "Dataplane", "name": "a", "networking": {"address": "1.1.1.1"}});
        assert_eq!(resource_yaml(&document, true), "name: a\ntype: Dataplane\nnetworking:\n  address: 1.1.1.1\n");
    }
}
