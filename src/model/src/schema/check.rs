//! Checking values.

use serde_json::Value;

use super::{Faults, JsonType, Schema};

/// The type of a value in the words of the validation; numbers have one type.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// A number as Go prints a `float64`: from 1e21, and with six digits for `%v`, in scientific form.
fn go_number(number: f64) -> String {
    if number != 0.0 && (number.abs() >= 1e6 || number.abs() < 1e-4) {
        let text = format!("{number:e}");
        match text.split_once('e') {
            Some((mantissa, exponent)) => {
                let exponent: i32 = exponent.parse().unwrap_or(0);
                let sign = if exponent < 0 { '-' } else { '+' };
                let digits = exponent.abs();
                format!("{mantissa}e{sign}{digits:02}")
            }
            None => text,
        }
    } else {
        format!("{number}")
    }
}

fn list(choices: &[Value]) -> String {
    let texts: Vec<String> = choices
        .iter()
        .map(|choice| match choice {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect();
    format!("[{}]", texts.join(" "))
}

impl Schema {
    /// Adds the faults of `value`, which stands at `path`.
    pub fn check(&self, path: &str, value: &Value, faults: &mut Faults) {
        self.check_type(path, value, faults);
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::String(text) => self.check_text(path, text, faults),
            Value::Number(number) => self.check_number(path, number.as_f64().unwrap_or(f64::NAN), faults),
            Value::Array(items) => self.check_items(path, items, faults),
            Value::Object(fields) => self.check_fields(path, fields, faults),
        }
        if !self.choices.is_empty() && !self.choices.iter().any(|choice| same(choice, value)) {
            faults.add(format!("{path} in body should be one of {}", list(&self.choices)));
        }
    }

    fn check_type(&self, path: &str, value: &Value, faults: &mut Faults) {
        if self.int_or_string {
            let fits = value.is_string() || value.is_null() || is_whole(value);
            if !fits {
                faults.add(format!("{path:?} must validate at least one schema (anyOf)"));
                faults.add(format!("{path} in body must be of type integer: {:?}", type_name(value)));
            }
            return;
        }
        let Some(kind) = self.kind else { return };
        let fits = match kind {
            JsonType::Object => value.is_object(),
            JsonType::Array => value.is_array(),
            JsonType::String => value.is_string(),
            JsonType::Boolean => value.is_boolean(),
            JsonType::Integer => is_whole(value),
        };
        if fits {
            return;
        }
        // With a width, values that are neither text nor list are compared by their width.
        let (expected, found) = match (self.format, value) {
            (Some(format), Value::Number(_)) => (format, "double"),
            (Some(format), Value::Bool(_) | Value::Object(_)) => (format, ""),
            _ => (kind.name(), type_name(value)),
        };
        faults.add(format!("{path} in body must be of type {expected}: {found:?}"));
    }

    fn check_text(&self, path: &str, text: &str, faults: &mut Faults) {
        let len = text.chars().count();
        if let Some(max) = self.len_max.filter(|max| len > *max) {
            faults.add(format!("{path} in body should be at most {max} chars long"));
        }
        if let Some(min) = self.len_min.filter(|min| len < *min) {
            faults.add(format!("{path} in body should be at least {min} chars long"));
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            faults.add(format!("{path} in body should match '{pattern}'"));
        }
    }

    fn check_number(&self, path: &str, number: f64, faults: &mut Faults) {
        if let Some(max) = self.maximum.filter(|max| number > *max) {
            faults.add(format!("{path} in body should be less than or equal to {}", go_number(max)));
        }
        if let Some(min) = self.minimum.filter(|min| number < *min) {
            faults.add(format!("{path} in body should be greater than or equal to {}", go_number(min)));
        }
    }

    fn check_items(&self, path: &str, items: &[Value], faults: &mut Faults) {
        if let Some(schema) = &self.items {
            for (i, item) in items.iter().enumerate() {
                schema.check(&format!("{path}[{i}]"), item, faults);
            }
        }
        if let Some(min) = self.items_min.filter(|min| items.len() < *min) {
            faults.add(format!("{path} in body should have at least {min} items"));
        }
        if let Some(max) = self.items_max.filter(|max| items.len() > *max) {
            faults.add(format!("{path} in body should have at most {max} items"));
        }
    }

    fn check_fields(&self, path: &str, fields: &serde_json::Map<String, Value>, faults: &mut Faults) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        if let Some(schema) = &self.values {
            for (name, field) in fields {
                schema.check(&format!("{path}.{name}"), field, faults);
            }
        }
        for (name, schema) in &self.properties {
            if let Some(field) = fields.get(*name) {
                schema.check(&below(name), field, faults);
            }
        }
        for name in &self.required {
            if !fields.contains_key(*name) {
                // The dot stands also at the root, where the path is empty.
                faults.add(format!("{path}.{name} in body is required"));
            }
        }
    }
}

/// Equality that does not tell 1 from 1.0.
fn same(choice: &Value, value: &Value) -> bool {
    choice == value || (choice.is_number() && choice.as_f64() == value.as_f64())
}
