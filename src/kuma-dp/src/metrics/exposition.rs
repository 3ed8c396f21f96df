//! Prometheus' text format, read and written.

use std::collections::HashMap;
use std::fmt::Write;

/// What a family of metrics measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FamilyKind {
    Counter,
    Gauge,
    Histogram,
    Summary,
    Untyped,
}

impl FamilyKind {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "summary" => Self::Summary,
            "untyped" => Self::Untyped,
            _ => return None,
        })
    }

    fn text(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
        }
    }

    /// Endings of the names of its samples, beside the bare name.
    fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Histogram => &["_bucket", "_sum", "_count"],
            Self::Summary => &["_sum", "_count"],
            Self::Counter | Self::Gauge | Self::Untyped => &[],
        }
    }
}

/// Names and values, as written.
pub(crate) type Labels = Vec<(String, String)>;

/// One line: a sample of a series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// Name with the suffix that histograms and summaries have.
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
    /// Milliseconds since 1970, when the line says so.
    pub(crate) timestamp: Option<i64>,
}

impl Sample {
    /// The value of a label.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// All samples of one metric.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: Option<String>,
    pub(crate) kind: FamilyKind,
    pub(crate) samples: Vec<Sample>,
}

/// A text that is not in Prometheus' format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected {expected}")]
pub(super) struct ExpositionError {
    /// Counted from 1.
    line: usize,
    expected: &'static str,
}

/// Reads families in their order.
///
/// # Errors
/// The first line that is none.
pub(super) fn parse(text: &str) -> Result<Vec<Family>, ExpositionError> {
    let mut families = Families::default();
    for (index, line) in text.lines().enumerate() {
        let fault = |expected| ExpositionError { line: index + 1, expected };
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.trim_start().splitn(3, [' ', '\t']);
            match (words.next(), words.next(), words.next()) {
                (Some("TYPE"), Some(name), Some(kind)) => {
                    let kind = FamilyKind::parse(kind.trim()).ok_or_else(|| fault("a known type"))?;
                    families.named(name).kind = kind;
                }
                (Some("HELP"), Some(name), help) => families.named(name).help = Some(help.unwrap_or("").to_owned()),
                _ => {}
            }
        } else if !line.is_empty() {
            let sample = parse_sample(line).map_err(fault)?;
            families.family_of(&sample.name).samples.push(sample);
        }
    }
    Ok(families.list)
}

/// Families while they are read, found by name.
#[derive(Default)]
struct Families {
    list: Vec<Family>,
    by_name: HashMap<String, usize>,
}

impl Families {
    fn named(&mut self, name: &str) -> &mut Family {
        let index = *self.by_name.entry(name.to_owned()).or_insert_with(|| {
            let kind = FamilyKind::Untyped;
            self.list.push(Family { name: name.to_owned(), help: None, kind, samples: Vec::new() });
            self.list.len() - 1
        });
        &mut self.list[index]
    }

    /// The family of a sample with this name.
    fn family_of(&mut self, sample: &str) -> &mut Family {
        if !self.by_name.contains_key(sample) {
            for suffix in ["_bucket", "_sum", "_count"] {
                let Some(stem) = sample.strip_suffix(suffix) else { continue };
                let Some(index) = self.by_name.get(stem).copied() else { continue };
                if self.list[index].kind.suffixes().contains(&suffix) {
                    return &mut self.list[index];
                }
            }
        }
        self.named(sample)
    }
}

fn parse_sample(line: &str) -> Result<Sample, &'static str> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace()).ok_or("a value after the name")?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() {
        return Err("a name");
    }
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => parse_labels(inside)?,
        None => (Vec::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let value = words.next().and_then(parse_value).ok_or("a number")?;
    let timestamp = words.next().map(|word| word.parse().map_err(|_| "a timestamp")).transpose()?;
    Ok(Sample { name: name.to_owned(), labels, value, timestamp })
}

/// Labels up to the closing brace, and what follows it.
fn parse_labels(text: &str) -> Result<(Labels, &str), &'static str> {
    let mut labels = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once('=').ok_or("a label")?;
        let quoted = after.trim_start().strip_prefix('"').ok_or("a quoted value")?;
        let (value, after) = parse_quoted(quoted)?;
        labels.push((name.trim().to_owned(), value));
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
    }
}

fn parse_quoted(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped)) => value.push(escaped),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err("a closing quote")
}

fn parse_value(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        other => other.parse().ok(),
    }
}

/// Writes families; those without samples are left out.
pub(super) fn write(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        if let Some(help) = &family.help {
            text.push_str(&format!("# HELP {} {help}\n", family.name));
        }
        text.push_str(&format!("# TYPE {} {}\n", family.name, family.kind.text()));
        family.samples.iter().for_each(|sample| write_sample(&mut text, sample));
    }
    text
}

fn write_sample(text: &mut String, sample: &Sample) {
    text.push_str(&sample.name);
    for (index, (name, value)) in sample.labels.iter().enumerate() {
        text.push(if index == 0 { '{' } else { ',' });
        text.push_str(name);
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    if !sample.labels.is_empty() {
        text.push('}');
    }
    text.push(' ');
    text.push_str(&number(sample.value));
    if let Some(timestamp) = sample.timestamp {
        // Writing to a string cannot fail.
        let _ = write!(text, " {timestamp}");
    }
    text.push('\n');
}

/// Exponents of numbers that are written without one.
const PLAIN_EXPONENTS: std::ops::Range<i32> = -4..6;

/// The shortest text of a number as Go writes it: with an exponent from a million on.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if value != 0.0 && !PLAIN_EXPONENTS.contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}
