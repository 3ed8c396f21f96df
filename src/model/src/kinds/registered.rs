//! Codecs of typed kinds, made from what each kind says of itself.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::codec::{Codec, DecodeError, Document, decode, no_status, no_stored_status, restore};
use crate::resource::Spec;
use crate::schema::Schema;
use crate::violation::Violations;

/// The spec of a kind: its schema and its rules.
pub(crate) trait SpecType: DeserializeOwned + Serialize + Send + Sync + 'static {
    /// The schema of a plugin kind; protobuf-born kinds have none.
    fn schema() -> Option<&'static Schema> {
        None
    }

    /// Adds all faults, with the paths and words of the reference.
    fn check(&self, _faults: &mut Violations) {}

    /// Deprecation warnings of a resource with this spec.
    fn warnings(&self, _document: &Document<'_>) -> Vec<String> {
        Vec::new()
    }
}

/// A codec of a plugin kind without a status.
pub(crate) const fn plain<T: SpecType>() -> Codec {
    Codec {
        default: |raw| {
            if let Some(schema) = T::schema() {
                schema.fill(raw);
            }
        },
        schema: |raw| T::schema().map(|schema| schema.violations(raw)).unwrap_or_default(),
        decode: decode::<T>,
        decode_status: no_status,
        restore: restore::<T>,
        restore_status: no_stored_status,
        validate: |document| {
            let mut faults = Violations::new();
            if let Some(spec) = document.spec.get::<T>() {
                spec.check(&mut faults);
            }
            faults
        },
        warn: |document| document.spec.get::<T>().map(|spec| spec.warnings(document)).unwrap_or_default(),
    }
}

/// A codec of a plugin kind with a status.
pub(crate) const fn with_status<T, S>() -> Codec
where
    T: SpecType,
    S: DeserializeOwned + Serialize + Send + Sync + 'static,
{
    Codec { decode_status: decode::<S>, restore_status: restore::<S>, ..plain::<T>() }
}

/// A codec of a protobuf-born kind: `null` means absent.
pub(crate) const fn proto<T: SpecType>() -> Codec {
    Codec { decode: decode_proto::<T>, ..plain::<T>() }
}

fn decode_proto<T: SpecType>(mut raw: Value) -> Result<Spec, DecodeError> {
    drop_nulls(&mut raw);
    decode::<T>(raw)
}

/// Removes null fields. The free-form `metadata` of an insight keeps them.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            for (name, field) in fields {
                if name != "metadata" {
                    drop_nulls(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
