//! Structural schemas: what Kubernetes' OpenAPI validation checks and defaults, with its words.
//!
//! Every fault is one line of text, `spec.to[0].targetRef.kind in body should be one of [Mesh]`.
//! Fields that a schema does not name are fine; decoding drops them.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use crate::violation::Violations;

mod check;

/// The schema of a JSON value.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// Its JSON type; `None` for any.
    kind: Option<JsonType>,
    /// Width of an integer, as `int32`.
    format: Option<&'static str>,
    /// Whether it is a number or a text.
    int_or_string: bool,
    /// The values that it may have; empty for any.
    choices: Vec<Value>,
    /// What it is when it is absent.
    default: Option<Value>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    len_min: Option<usize>,
    len_max: Option<usize>,
    items_min: Option<usize>,
    items_max: Option<usize>,
    pattern: Option<Regex>,
    properties: Vec<(&'static str, Schema)>,
    required: Vec<&'static str>,
    /// The schema of a list's items.
    items: Option<Box<Schema>>,
    /// The schema of a map's values.
    values: Option<Box<Schema>>,
}

/// A JSON type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JsonType {
    Object,
    Array,
    String,
    Integer,
    Boolean,
}

impl JsonType {
    fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
        }
    }
}

fn of(kind: JsonType) -> Schema {
    Schema { kind: Some(kind), ..Schema::default() }
}

/// An object with these fields.
pub fn object(properties: impl IntoIterator<Item = (&'static str, Schema)>) -> Schema {
    Schema { properties: properties.into_iter().collect(), ..of(JsonType::Object) }
}

/// A list.
pub fn array(items: Schema) -> Schema {
    Schema { items: Some(Box::new(items)), ..of(JsonType::Array) }
}

/// An object with any fields, whose values have this schema.
pub fn map(values: Schema) -> Schema {
    Schema { values: Some(Box::new(values)), ..of(JsonType::Object) }
}

/// A text.
pub fn string() -> Schema {
    of(JsonType::String)
}

/// A text that is one of a few.
pub fn choice(texts: &[&str]) -> Schema {
    Schema { choices: texts.iter().map(|text| Value::from(*text)).collect(), ..string() }
}

/// A whole number.
pub fn integer() -> Schema {
    of(JsonType::Integer)
}

/// A whole number of 32 bits.
pub fn int32() -> Schema {
    Schema { format: Some("int32"), ..integer() }
}

/// A whole number of 64 bits.
pub fn int64() -> Schema {
    Schema { format: Some("int64"), ..integer() }
}

/// True or false.
pub fn boolean() -> Schema {
    of(JsonType::Boolean)
}

/// A number or a text.
pub fn int_or_string() -> Schema {
    Schema { int_or_string: true, ..Schema::default() }
}

/// Anything.
pub fn any() -> Schema {
    Schema::default()
}

impl Schema {
    /// The fields that must be there.
    #[must_use]
    pub fn required(mut self, names: &[&'static str]) -> Self {
        self.required.extend(names);
        self
    }

    /// What it is when it is absent.
    #[must_use]
    pub fn default_to(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// The numbers that it may be.
    #[must_use]
    pub fn one_of(mut self, numbers: &[i64]) -> Self {
        self.choices = numbers.iter().map(|number| Value::from(*number)).collect();
        self
    }

    /// The least number.
    #[must_use]
    pub fn at_least(mut self, minimum: u32) -> Self {
        self.minimum = Some(f64::from(minimum));
        self
    }

    /// The greatest number.
    #[must_use]
    pub fn at_most(mut self, maximum: u32) -> Self {
        self.maximum = Some(f64::from(maximum));
        self
    }

    /// The least number of characters.
    #[must_use]
    pub fn min_len(mut self, len: usize) -> Self {
        self.len_min = Some(len);
        self
    }

    /// The greatest number of characters.
    #[must_use]
    pub fn max_len(mut self, len: usize) -> Self {
        self.len_max = Some(len);
        self
    }

    /// The least number of items.
    #[must_use]
    pub fn min_items(mut self, len: usize) -> Self {
        self.items_min = Some(len);
        self
    }

    /// The greatest number of items.
    #[must_use]
    pub fn max_items(mut self, len: usize) -> Self {
        self.items_max = Some(len);
        self
    }

    /// An expression that the text must match.
    #[must_use]
    pub fn pattern(mut self, expression: &str) -> Self {
        debug_assert!(Regex::new(expression).is_ok(), "{expression}");
        self.pattern = Regex::new(expression).ok();
        self
    }

    /// Fills in defaults, in objects that are there.
    pub fn fill(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, property) in &self.properties {
                    if let Some(default) = &property.default
                        && fields.get(*name).is_none_or(Value::is_null)
                    {
                        fields.insert((*name).to_owned(), default.clone());
                    }
                }
                for (name, field) in fields {
                    let property = self.properties.iter().find(|(known, _)| known == name).map(|(_, schema)| schema);
                    if let Some(schema) = property.or(self.values.as_deref()) {
                        schema.fill(field);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    items.iter_mut().for_each(|item| schema.fill(item));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The faults of a spec: fields below `spec.` apart from their messages, all others as
    /// message alone; sorted by text.
    pub fn violations(&self, spec: &Value) -> Violations {
        let mut faults = Faults::default();
        self.check("spec", spec, &mut faults);
        faults.into_violations()
    }
}

/// Faults as text: sorted and without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(BTreeSet<String>);

impl Faults {
    /// Adds a fault.
    pub fn add(&mut self, text: impl Into<String>) {
        self.0.insert(text.into());
    }

    /// Adds what [`Schema::violations`] found.
    pub fn add_violations(&mut self, violations: Violations) {
        for v in violations.0 {
            self.add(if v.field.is_empty() { v.message } else { format!("{} {}", v.field, v.message) });
        }
    }

    /// Splits off the fields below `spec.`.
    pub fn into_violations(self) -> Violations {
        let mut violations = Violations::new();
        for text in self.0 {
            match text.split_once(' ') {
                Some((field, message)) if field.starts_with("spec.") => violations.add(field, message),
                _ => violations.add("", text),
            }
        }
        violations
    }
}

#[cfg(test)]
mod tests;
