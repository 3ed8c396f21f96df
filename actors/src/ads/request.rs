//! From Envoy's messages to the session's and to plain JSON.

use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
use xds::session::{DeltaRequest, Nonce};
use xds::{ContentHash, ResourceType};

/// The session's form of a request; `None` when it speaks of a type that is not served.
pub(crate) fn delta_request(request: DeltaDiscoveryRequest) -> Option<DeltaRequest> {
    let ty = ResourceType::from_type_url(&request.type_url)?;
    let versions = request.initial_resource_versions.into_iter();
    Some(DeltaRequest {
        ty,
        subscribe: request.resource_names_subscribe.into_iter().map(Arc::from).collect(),
        unsubscribe: request.resource_names_unsubscribe.into_iter().map(Arc::from).collect(),
        initial_versions: versions.map(|(name, version)| (name.into(), parse_version(&version))).collect(),
        nonce: (!request.response_nonce.is_empty())
            .then(|| Nonce::parse(&request.response_nonce).unwrap_or(Nonce(u64::MAX))),
        error: request.error_detail.map(|status| status.message),
    })
}

/// The hash behind a version; `None` when it is not one of ours.
fn parse_version(version: &str) -> Option<ContentHash> {
    let is_ours = version.len() == 16 && version.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    is_ours.then(|| u64::from_str_radix(version, 16).ok().map(ContentHash)).flatten()
}

/// How deep node metadata may nest.
const DEPTH_MAX: usize = 32;

/// A protobuf `Struct` as a JSON object. What nests deeper than any bootstrap does becomes `null`.
pub(crate) fn json_object(message: &Struct) -> serde_json::Map<String, serde_json::Value> {
    object(message, DEPTH_MAX)
}

fn object(message: &Struct, depth: usize) -> serde_json::Map<String, serde_json::Value> {
    message.fields.iter().map(|(name, field)| (name.clone(), json_value(field, depth))).collect()
}

fn json_value(field: &Value, depth: usize) -> serde_json::Value {
    let Some(depth) = depth.checked_sub(1) else { return serde_json::Value::Null };
    match &field.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(value)) => (*value).into(),
        Some(Kind::NumberValue(value)) => json_number(*value),
        Some(Kind::StringValue(value)) => value.clone().into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(|value| json_value(value, depth)).collect(),
        Some(Kind::StructValue(inner)) => object(inner, depth).into(),
    }
}

/// Whole numbers as integers, as protobuf's JSON writes them.
fn json_number(value: f64) -> serde_json::Value {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
        (value as i64).into()
    } else {
        serde_json::Number::from_f64(value).map_or(serde_json::Value::Null, serde_json::Value::Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_versions_are_recognised() {
        let hash = ContentHash(0x00ab_cdef_0123_4567);
        assert_eq!(parse_version(&hash.to_string()), Some(hash));
        for foreign in ["", "1", "00ABCDEF01234567", "+0abcdef01234567", "00abcdef0123456789"] {
            assert_eq!(parse_version(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn nonce_that_is_no_number_answers_nothing_that_was_sent() {
        let request = DeltaDiscoveryRequest {
            type_url: ResourceType::Cluster.type_url().to_owned(),
            response_nonce: "mine".to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        assert_eq!(delta_request(request).unwrap().nonce, Some(Nonce(u64::MAX)));
    }

    #[test]
    fn type_that_is_not_served_has_no_request() {
        assert_eq!(delta_request(DeltaDiscoveryRequest::default()), None);
    }
}
