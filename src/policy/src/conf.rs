//! A merged conf: plain JSON, and the typed value that a policy's own code works on.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A conf that has not the shape of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the merged conf: {0}")]
pub struct ConfError(String);

/// The result of a merge. It is decoded once, however many proxies use it.
#[derive(Debug, Default)]
pub struct Conf {
    value: Value,
    typed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Conf {
    /// Wraps a merged value.
    pub fn new(value: Value) -> Self {
        Self { value, typed: OnceLock::new() }
    }

    /// The JSON, as Kuma's inspect API shows it.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null => true,
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
        }
    }

    /// The typed value.
    ///
    /// # Errors
    /// When the JSON has not the shape of `T`.
    pub fn typed<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, ConfError> {
        if let Some(typed) = self.typed.get().and_then(|typed| Arc::clone(typed).downcast().ok()) {
            return Ok(typed);
        }
        let typed: Arc<T> = Arc::new(T::deserialize(&self.value).map_err(|e| ConfError(e.to_string()))?);
        // When another thread was first, its value is as good.
        drop(self.typed.set(Arc::clone(&typed) as Arc<dyn Any + Send + Sync>));
        Ok(typed)
    }
}

impl PartialEq for Conf {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
