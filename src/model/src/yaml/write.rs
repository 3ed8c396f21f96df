//! Writing YAML.

use serde_json::{Map, Value};

/// One document, with a line feed at its end.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => write_object(&mut out, fields, 0, false),
        Value::Array(items) if !items.is_empty() => write_array(&mut out, items, 0, false),
        scalar => {
            write_scalar(&mut out, scalar, 0);
            out.push('\n');
        }
    }
    out
}

/// Several documents, separated by `---`.
pub fn to_string_multiple(values: &[Value]) -> String {
    values.iter().map(to_string).collect::<Vec<_>>().join("---\n")
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Writes the fields of an object at `depth`. `inline` when the first field continues a line.
fn write_object(out: &mut String, fields: &Map<String, Value>, depth: usize, inline: bool) {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_by_key(|(key, _)| key.as_str());
    for (i, (key, value)) in sorted.into_iter().enumerate() {
        if i > 0 || !inline {
            indent(out, depth);
        }
        write_text(out, key, None);
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                write_object(out, inner, depth + 1, false);
            }
            Value::Array(inner) if !inner.is_empty() => {
                out.push('\n');
                write_array(out, inner, depth, false);
            }
            scalar => {
                out.push(' ');
                write_scalar(out, scalar, depth);
                out.push('\n');
            }
        }
    }
}

/// Writes the items of a list whose dashes stand at `depth`.
fn write_array(out: &mut String, items: &[Value], depth: usize, inline: bool) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 || !inline {
            indent(out, depth);
        }
        out.push_str("- ");
        match item {
            Value::Object(inner) if !inner.is_empty() => write_object(out, inner, depth + 1, true),
            Value::Array(inner) if !inner.is_empty() => write_array(out, inner, depth + 1, true),
            scalar => {
                write_scalar(out, scalar, depth);
                out.push('\n');
            }
        }
    }
}

fn write_scalar(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => write_text(out, text, Some(depth)),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

/// Writes text; `block_depth` is where a literal block may stand, `None` for keys.
fn write_text(out: &mut String, text: &str, block_depth: Option<usize>) {
    if text.contains('\n') {
        match block_depth {
            Some(depth) if fits_literal(text) => write_literal(out, text, depth),
            _ => write_double_quoted(out, text),
        }
    } else if reads_as_other_type(text) || text.chars().any(needs_escape) {
        write_double_quoted(out, text);
    } else if is_plain(text) {
        out.push_str(text);
    } else {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    }
}

fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

/// Whether a literal block keeps the text as it is: no line ends in a space, and nothing would
/// have to be escaped.
fn fits_literal(text: &str) -> bool {
    !text.starts_with([' ', '\n'])
        && !text.lines().any(|line| line.ends_with(' '))
        && !text.chars().any(|c| c != '\n' && c != '\t' && needs_escape(c))
}

fn write_literal(out: &mut String, text: &str, depth: usize) {
    let body = text.trim_end_matches('\n');
    out.push_str(match text.len() - body.len() {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    let kept = if text.len() - body.len() > 1 { &text[..text.len() - 1] } else { body };
    for line in kept.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(out, depth + 1);
            out.push_str(line);
        }
    }
}

fn write_double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if needs_escape(c) && (c as u32) < 0x100 => out.push_str(&format!("\\x{:02X}", c as u32)),
            c if needs_escape(c) => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Whether text can stand without quotes.
fn is_plain(text: &str) -> bool {
    const INDICATORS: &[char] =
        &['-', '?', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`', '='];
    let Some(first) = text.chars().next() else { return false };
    let starts_well = match first {
        // These stand alone only before a space or at the end.
        '-' | '?' | ':' => text.chars().nth(1).is_some_and(|c| !c.is_whitespace()),
        first => !INDICATORS.contains(&first),
    };
    starts_well
        && !text.starts_with(' ')
        && !text.ends_with([' ', ':'])
        && !text.starts_with("---")
        && !text.starts_with("...")
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.contains('\t')
}

/// Whether a YAML 1.1 reader takes plain text for null, a boolean, a number or a date.
fn reads_as_other_type(text: &str) -> bool {
    const WORDS: &[&str] = &["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "<<"];
    let lower = text.to_ascii_lowercase();
    let is_word =
        WORDS.contains(&lower.as_str()) && (text == lower || text == text.to_ascii_uppercase() || is_capitalized(text));
    is_word || is_number(text) || is_sexagesimal(text) || is_date(text)
}

fn is_capitalized(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_uppercase()) && chars.all(|c| c.is_ascii_lowercase())
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let Some(first) = unsigned.chars().next() else { return false };
    if !first.is_ascii_digit() && first != '.' {
        return false;
    }
    let digits: String = unsigned.chars().filter(|c| *c != '_').collect();
    let radix = |prefix: &str, radix: u32| {
        digits.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    radix("0x", 16) || radix("0b", 2) || radix("0o", 8) || is_decimal(&digits)
}

/// `[0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)?` with at least one digit before the exponent.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let all_digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    whole.len() + fraction.len() > 0 && all_digits(whole) && all_digits(fraction) && exponent_fits
}

/// `190:20:30`: sixties, which YAML 1.1 reads as a number.
fn is_sexagesimal(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = text.split(':');
    let starts_well = parts.next().is_some_and(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()));
    let mut sixties = 0;
    let rest_fits = parts.all(|part| {
        sixties += 1;
        let digits = part.split('.').next().unwrap_or_default();
        (1..=2).contains(&digits.len())
            && digits.parse::<u8>().is_ok_and(|n| n < 60)
            && part.chars().all(|c| c.is_ascii_digit() || c == '.')
    });
    starts_well && rest_fits && sixties > 0
}

/// `2001-12-14`, alone or followed by a time.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let digits = |text: &str, lens: std::ops::RangeInclusive<usize>| {
        lens.contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit())
    };
    let (day, time) = match rest.split_once(['T', 't', ' ']) {
        Some((day, time)) => (day, Some(time)),
        None => (rest, None),
    };
    digits(year, 4..=4)
        && digits(month, 1..=2)
        && digits(day, 1..=2)
        && time.is_none_or(|time| time.starts_with(|c: char| c.is_ascii_digit()) && time.contains(':'))
}
