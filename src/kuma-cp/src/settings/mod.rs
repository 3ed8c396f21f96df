//! The settings of a control plane, parsed once into checked types.

mod load;
mod parts;
mod table;
mod tree;
mod validate;

pub(crate) use load::{Loaded, load};

mod typed;
pub(crate) use typed::{Listener, Mode, Settings, StoreSettings, TlsSettings};

use serde_json::Value;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file is not there, or not readable.
    #[error(
        "unable to access configuration file '{0}', please check if the file exists and has the correct permissions"
    )]
    NoFile(String),
    /// The file is no YAML.
    #[error("parsing configuration from file '{file}' failed: {cause}")]
    File {
        /// Its path.
        file: String,
        /// What is wrong.
        cause: String,
    },
    /// A key holds a value of another kind.
    #[error("{path}: expected {expected}, got {got}")]
    Kind {
        /// The key.
        path: String,
        /// What it holds.
        expected: &'static str,
        /// What was given.
        got: String,
    },
    /// A variable holds a text that its key cannot take.
    #[error("envconfig.Process: assigning {variable}: converting '{text}' to type {to}")]
    Environment {
        /// Its name.
        variable: String,
        /// Its value.
        text: String,
        /// The kind of the key.
        to: &'static str,
    },
    /// Values that contradict the rules.
    #[error("configuration validation failed: {0}")]
    Invalid(String),
}

impl SettingsError {
    fn kind(path: &str, expected: &'static str, got: &Value) -> Self {
        Self::Kind { path: path.to_owned(), expected, got: got.to_string() }
    }
}

#[cfg(test)]
mod tests;
