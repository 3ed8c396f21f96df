//! Envoy messages as JSON, with everything that is packed inside unfolded; and JSON as messages.
//!
//! The descriptors of Envoy's API are embedded: `descriptors/envoy.bin` is the descriptor set of the
//! API that `envoy-types` is generated from, without its comments.

mod diff;
mod tolerant;

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

pub use diff::{DiffOp, OpKind, diff};

pub(crate) static DESCRIPTORS: &[u8] = include_bytes!("../descriptors/envoy.bin");

#[allow(clippy::expect_used, reason = "the embedded bytes are the same in every process; a test decodes them")]
static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the embedded descriptors are valid"));

/// A message that JSON cannot show, or JSON that is not of the message's shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The type is not part of Envoy's API.
    #[error("unknown message type {0}")]
    UnknownType(String),
    /// The bytes are not of the type, or contain a packed message of an unknown type.
    #[error("{0}")]
    Malformed(String),
}

/// All message types of Envoy's API.
pub fn descriptors() -> &'static DescriptorPool {
    &POOL
}

fn descriptor(full_name: &str) -> Result<MessageDescriptor, JsonError> {
    POOL.get_message_by_name(full_name).ok_or_else(|| JsonError::UnknownType(full_name.to_owned()))
}

/// The JSON of a message. A packed message of a type that Envoy's API does not have is shown in base64.
///
/// # Errors
/// When the type is not known.
pub fn to_json<T: Message + Name>(message: &T) -> Result<Value, JsonError> {
    bytes_to_json(&T::full_name(), &message.encode_to_vec())
}

/// The JSON of an encoded message of the type `full_name` (`envoy.config.cluster.v3.Cluster`).
///
/// # Errors
/// As [`to_json`], and when the bytes or the type are not known.
pub fn bytes_to_json(full_name: &str, bytes: &[u8]) -> Result<Value, JsonError> {
    let malformed = |error: String| JsonError::Malformed(error);
    let mut dynamic = DynamicMessage::decode(descriptor(full_name)?, bytes).map_err(|e| malformed(e.to_string()))?;
    let show = |dynamic: &DynamicMessage| {
        dynamic.serialize_with_options(serde_json::value::Serializer, &SerializeOptions::new())
    };
    let mut json = match show(&dynamic) {
        Ok(json) => json,
        Err(_) => {
            tolerant::replace_unknown(&mut dynamic);
            let mut json = show(&dynamic).map_err(|e| malformed(e.to_string()))?;
            tolerant::restore_unknown(&mut json);
            json
        }
    };
    shorten_numbers(&mut json);
    Ok(json)
}

/// Writes floating-point numbers without a fraction as Go does: `20`, not `20.0`.
fn shorten_numbers(json: &mut Value) {
    match json {
        Value::Number(number) if number.is_f64() => {
            #[allow(clippy::cast_possible_truncation, reason = "within the range in which doubles are exact")]
            let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9.0e15).map(|n| n as i64);
            if let Some(whole) = whole {
                *json = Value::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(shorten_numbers),
        Value::Object(fields) => fields.values_mut().for_each(shorten_numbers),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The message of a JSON text with either spelling of field names.
///
/// # Errors
/// When the JSON has an unknown field, an unknown `@type` or a value of the wrong shape.
pub fn from_json<T: Message + Name + Default>(json: &Value) -> Result<T, JsonError> {
    let malformed = |error: String| JsonError::Malformed(error);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let dynamic = DynamicMessage::deserialize_with_options(descriptor(&T::full_name())?, json, &options)
        .map_err(|e| malformed(e.to_string()))?;
    dynamic.transcode_to().map_err(|e| malformed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::cluster::Cluster;
    use crate::generators::blocks::{http_options, static_cluster};
    use crate::protocol::Protocol;
    use crate::resource_set::{ClusterResource, Origin};

    fn cluster() -> Cluster {
        let message = static_cluster("a", 5, crate::envoy::socket_address("10.0.0.1", 80));
        let mut cluster = ClusterResource::new(Origin::Inbound, message);
        cluster.http_options = http_options(Protocol::Http);
        cluster.pack()
    }

    #[test]
    fn packed_messages_are_unfolded_and_read_back() {
        let json = to_json(&cluster()).expect("known types");
        let options = &json["typedExtensionProtocolOptions"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
        assert_eq!(options["@type"], "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
        assert_eq!(json["connectTimeout"], "5s");
        assert_eq!(from_json::<Cluster>(&json), Ok(cluster()));
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        let half = crate::envoy::types::Percent { value: 0.5 };
        let whole = crate::envoy::types::Percent { value: 20.0 };
        let text = |percent| to_json(percent).expect("a known type").to_string();
        assert_eq!((text(&half), text(&whole)), (r#"{"value":0.5}"#.to_owned(), r#"{"value":20}"#.to_owned()));
    }

    #[test]
    fn packed_messages_of_unknown_types_are_shown_in_base64() {
        let mut cluster = cluster();
        let unknown = crate::envoy::Any { type_url: "type.googleapis.com/a.B".to_owned(), value: vec![1, 2, 3] };
        cluster.typed_extension_protocol_options.insert("x".to_owned(), unknown);
        let json = to_json(&cluster).expect("shown");
        let options = &json["typedExtensionProtocolOptions"];
        assert_eq!(options["x"], serde_json::json!({"@type": "type.googleapis.com/a.B", "value": "AQID"}));
        assert!(options[crate::resource_set::HTTP_OPTIONS]["explicitHttpConfig"].is_object());
    }

    #[test]
    fn json_of_another_shape_is_refused() {
        let unknown = serde_json::json!({"name": "a", "colour": "red"});
        assert!(matches!(from_json::<Cluster>(&unknown), Err(JsonError::Malformed(_))));
    }
}
