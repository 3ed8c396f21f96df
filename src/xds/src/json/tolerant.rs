//! Packed messages of types that Envoy's API does not have (of extensions, of other versions) are
//! shown as they are, in base64, instead of making the whole unreadable.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage, Value as Field};
use serde_json::{Value, json};

const ANY: &str = "google.protobuf.Any";
/// A type that every pool has, in whose place an unknown one is serialised.
const STAND_IN: &str = "type.googleapis.com/google.protobuf.StringValue";
/// How a stand-in begins: no text of Envoy's API does.
const MARK: &str = "\u{0}unknown\u{0}";

/// Puts stand-ins in the place of packed messages of unknown type, also inside of packed messages.
pub(super) fn replace_unknown(message: &mut DynamicMessage) {
    if message.descriptor().full_name() == ANY {
        return replace_any(message);
    }
    let names: Vec<_> = message.fields().map(|(field, _)| field).collect();
    for field in names {
        replace_in(message.get_field_mut(&field));
    }
}

fn replace_in(field: &mut Field) {
    match field {
        Field::Message(message) => replace_unknown(message),
        Field::List(items) => items.iter_mut().for_each(replace_in),
        Field::Map(entries) => entries.values_mut().for_each(replace_in),
        _ => {}
    }
}

fn replace_any(any: &mut DynamicMessage) {
    let pool: DescriptorPool = any.descriptor().parent_pool().clone();
    let url = any.get_field_by_name("type_url").and_then(|url| url.as_str().map(str::to_owned)).unwrap_or_default();
    let bytes = any.get_field_by_name("value").and_then(|value| value.as_bytes().cloned()).unwrap_or_default();
    let known = url.rsplit('/').next().and_then(|name| pool.get_message_by_name(name));
    let inner = known.and_then(|descriptor| DynamicMessage::decode(descriptor, bytes.clone()).ok());
    let value = match inner {
        Some(mut inner) => {
            replace_unknown(&mut inner);
            inner.encode_to_vec()
        }
        None => {
            any.set_field_by_name("type_url", Field::String(STAND_IN.to_owned()));
            format!("{MARK}{url}\u{0}{}", STANDARD.encode(&bytes)).encode_to_vec()
        }
    };
    any.set_field_by_name("value", Field::Bytes(value.into()));
}

/// Shows stand-ins as what they stand for.
pub(super) fn restore_unknown(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            let marked = fields.get("value").and_then(Value::as_str).and_then(|text| text.strip_prefix(MARK));
            if let Some((url, bytes)) = marked.and_then(|text| text.split_once('\u{0}')) {
                *json = json!({"@type": url, "value": bytes});
            } else {
                fields.values_mut().for_each(restore_unknown);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(restore_unknown),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
