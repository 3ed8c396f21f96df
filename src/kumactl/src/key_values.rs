//! Flags of the form `key=value`.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// Parses the values of a repeatable flag. A value with exactly one `=` is one pair, commas included;
/// with more it is one record of comma-separated pairs, in which quotes keep commas together.
///
/// # Errors
/// A part without `=`.
pub(crate) fn parse(values: &[String]) -> Result<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    for value in values {
        let parts = if value.matches('=').count() == 1 { vec![value.clone()] } else { record(value) };
        for part in parts {
            match part.split_once('=') {
                Some((key, value)) => pairs.insert(key.to_owned(), value.to_owned()),
                None => bail!("{part} must be formatted as key=value"),
            };
        }
    }
    Ok(pairs)
}

/// The fields of one CSV record.
fn record(text: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&str], expected: &[(&str, &str)]) {
        let values: Vec<_> = values.iter().map(|v| (*v).to_owned()).collect();
        let expected = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(parse(&values).unwrap(), expected);
    }

    #[test]
    fn pairs_are_split_as_by_gos_flags() {
        check(&["a=1,2"], &[("a", "1,2")]);
        check(&["a=1,b=2", "c=3"], &[("a", "1"), ("b", "2"), ("c", "3")]);
        check(&["\"a=1,x\",b=2"], &[("a", "1,x"), ("b", "2")]);
    }

    #[test]
    fn a_part_without_a_value_is_named() {
        let error = parse(&["tag=1,2,b=3".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "2 must be formatted as key=value");
    }
}
