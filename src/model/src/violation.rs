//! What is wrong with an input: every fault with the path of its field.

use std::fmt;

/// One fault of an input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Path of the field, as `spec.to[0].targetRef.kind` or `labels["kuma.io/zone"]`.
    pub field: String,
    /// What was expected.
    pub message: String,
}

/// All faults of an input, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(pub Vec<Violation>);

impl Violations {
    /// No fault.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fault.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Violation { field: field.into(), message: message.into() });
    }

    /// Adds the faults of a nested value under `path`: `a` + `b` is `a.b`, `a` + `[0]` is `a[0]`.
    pub fn nest(&mut self, path: &str, inner: Violations) {
        for v in inner.0 {
            let field = if path.is_empty() {
                v.field
            } else if v.field.is_empty() {
                path.to_owned()
            } else if v.field.starts_with('[') {
                format!("{path}{}", v.field)
            } else {
                format!("{path}.{}", v.field)
            };
            self.0.push(Violation { field, message: v.message });
        }
    }

    /// Adds the faults of `other` as they are.
    pub fn append(&mut self, other: Violations) {
        self.0.extend(other.0);
    }

    /// Whether there is no fault.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `Ok` when there is no fault.
    pub fn into_result(self) -> Result<(), Violations> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, v) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{}: {}", v.field, v.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}
