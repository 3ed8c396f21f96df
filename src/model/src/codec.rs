//! From JSON to typed specs and back: one [`Codec`] a kind.

use std::any::Any;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::meta::Labels;
use crate::resource::Spec;
use crate::violation::Violations;

/// A spec that was refused.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The JSON does not have the shape of the kind.
    #[error("{0}")]
    Malformed(String),
    /// The JSON violates the schema or the rules of the kind.
    #[error("{0}")]
    Invalid(Violations),
}

/// The functions of a kind that turn documents into typed specs. Plain function pointers, so that
/// descriptors are constants.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    /// Fills the structural defaults of the schema into a raw spec.
    pub default: fn(&mut Value),
    /// Checks a raw, defaulted spec against the schema (Kuma's OpenAPI validation).
    pub schema: fn(&Value) -> Violations,
    /// Decodes the raw spec: unknown fields are dropped, the result's JSON is canonical.
    pub decode: fn(Value) -> Result<Spec, DecodeError>,
    /// Decodes a status.
    pub decode_status: fn(Value) -> Result<Spec, DecodeError>,
    /// Reads the canonical text of a spec again, as it was stored. It is not made anew.
    pub restore: fn(&str) -> Result<Spec, DecodeError>,
    /// Reads the canonical text of a status again.
    pub restore_status: fn(&str) -> Result<Spec, DecodeError>,
    /// The kind's own rules, on a decoded spec. All faults are returned.
    pub validate: fn(&Document<'_>) -> Violations,
    /// Deprecation warnings for a decoded spec.
    pub warn: fn(&Document<'_>) -> Vec<String>,
}

/// What a kind's own validation sees.
#[derive(Debug)]
pub struct Document<'a> {
    /// Mesh of the resource, empty for global kinds.
    pub mesh: &'a str,
    /// Name of the resource.
    pub name: &'a str,
    /// Labels as they will be stored, as far as they are known.
    pub labels: &'a Labels,
    /// The decoded spec.
    pub spec: &'a Spec,
}

impl Codec {
    /// Default, schema check, decode: what a spec passes on its way in, before its own rules.
    ///
    /// # Errors
    /// Schema violations, or the reason why the JSON has not the shape of the kind.
    pub fn admit(&self, mut raw: Value) -> Result<Spec, DecodeError> {
        (self.default)(&mut raw);
        let violations = (self.schema)(&raw);
        if !violations.is_empty() {
            return Err(DecodeError::Invalid(violations));
        }
        (self.decode)(raw)
    }
}

/// Decodes into `T` and keeps `T`'s own JSON as the canonical text.
///
/// # Errors
/// [`DecodeError::Malformed`] with serde's words.
pub fn decode<T: DeserializeOwned + Serialize + Send + Sync + 'static>(raw: Value) -> Result<Spec, DecodeError> {
    let typed: T = serde_json::from_value(raw).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    let json = serde_json::to_string(&typed).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    let typed: Arc<dyn Any + Send + Sync> = Arc::new(typed);
    Ok(Spec::new(json.into(), typed))
}

/// Reads text that [`decode`] made. Text of an earlier release may not be what this one would make; it
/// is kept as it is.
///
/// # Errors
/// [`DecodeError::Malformed`] with serde's words.
pub fn restore<T: DeserializeOwned + Serialize + Send + Sync + 'static>(text: &str) -> Result<Spec, DecodeError> {
    let typed: T = serde_json::from_str(text).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    Ok(Spec::new(text.into(), Arc::new(typed)))
}

/// For kinds without status.
///
/// # Errors
/// Always.
pub fn no_status(_: Value) -> Result<Spec, DecodeError> {
    Err(DecodeError::Malformed("this kind has no status".to_owned()))
}

/// For kinds without status.
///
/// # Errors
/// Always.
pub fn no_stored_status(_: &str) -> Result<Spec, DecodeError> {
    no_status(Value::Null)
}

/// A codec that keeps any JSON as it is: for kinds whose typed spec is not known to this build.
pub const OPAQUE: Codec = Codec {
    default: |_| {},
    schema: |_| Violations::new(),
    decode: decode::<Value>,
    decode_status: decode::<Value>,
    restore: restore::<Value>,
    restore_status: restore::<Value>,
    validate: |_| Violations::new(),
    warn: |_| Vec::new(),
};
