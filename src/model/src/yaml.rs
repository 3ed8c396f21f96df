//! YAML documents as JSON values, read and written as the Go tools of the field do.
//!
//! Reading follows YAML 1.1 (`yes` is a boolean, `0644` is octal), merges `<<` and takes the last
//! of equal keys. Writing sorts
//! keys, does not indent lists under their key, and quotes what a YAML 1.1 reader would take for
//! something else than text.

use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

mod write;

pub use write::{to_string, to_string_multiple};

/// Text that is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadYaml {
    /// What the parser says.
    pub message: String,
}

/// Reads all documents; empty ones are left out. JSON is YAML too.
///
/// # Errors
/// [`BadYaml`] for malformed text, and documents that exhaust the limits on
/// nesting and aliases.
pub fn read_all(text: &str) -> Result<Vec<Value>, BadYaml> {
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options::<Value>(text, options)
        .map_err(|e| BadYaml { message: e.to_string() })
        .map(|documents| documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Reads exactly one document; `Null` when there is none.
///
/// # Errors
/// As [`read_all`], and when there are several documents.
pub fn read(text: &str) -> Result<Value, BadYaml> {
    let mut documents = read_all(text)?;
    match documents.len() {
        0 => Ok(Value::Null),
        1 => Ok(documents.remove(0)),
        n => Err(BadYaml { message: format!("expected one document, got {n}") }),
    }
}

#[cfg(test)]
mod tests;
