//! Codecs of typed kinds: the parts that all share.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::codec::{Codec, DecodeError, OPAQUE, decode, no_status};
use crate::resource::Spec;

/// A codec of a plugin kind without a status.
pub(crate) const fn plain<T: DeserializeOwned + Serialize + Send + Sync + 'static>() -> Codec {
    Codec { decode: decode::<T>, decode_status: no_status, ..OPAQUE }
}

/// A codec of a plugin kind with a status.
pub(crate) const fn with_status<T, S>() -> Codec
where
    T: DeserializeOwned + Serialize + Send + Sync + 'static,
    S: DeserializeOwned + Serialize + Send + Sync + 'static,
{
    Codec { decode_status: decode::<S>, ..plain::<T>() }
}

/// A codec of a protobuf-born kind: `null` means absent.
pub(crate) const fn proto<T: DeserializeOwned + Serialize + Send + Sync + 'static>() -> Codec {
    Codec { decode: decode_proto::<T>, ..plain::<T>() }
}

fn decode_proto<T: DeserializeOwned + Serialize + Send + Sync + 'static>(mut raw: Value) -> Result<Spec, DecodeError> {
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
