//! A field that takes a number or a text.

use serde::{Deserialize, Serialize};

/// Kubernetes' `IntOrString`; the form that was given is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A text: a name, a percentage or a decimal, as the field says.
    Text(String),
}

impl IntOrString {
    /// The number, also when it was given as decimal text without a fraction.
    pub fn as_int(&self) -> Option<i32> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Text(text) => text.parse().ok(),
        }
    }

    /// The value as a decimal number.
    pub fn as_decimal(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(f64::from(*value)),
            Self::Text(text) => text.parse().ok().filter(|value: &f64| value.is_finite()),
        }
    }
}
