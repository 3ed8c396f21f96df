//! A resource: key, metadata, typed spec and status.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::key::Key;
use crate::meta::Meta;

/// A spec or status: its typed value, and the JSON text that is stored, sent and hashed.
///
/// The text is the canonical encoding of the typed value; it is made once, at admission.
/// Cloning shares both.
#[derive(Clone)]
pub struct Spec {
    json: Arc<str>,
    typed: Arc<dyn Any + Send + Sync>,
}

impl Spec {
    /// Pairs a typed value with its canonical JSON. Only codecs make these.
    pub(crate) fn new(json: Arc<str>, typed: Arc<dyn Any + Send + Sync>) -> Self {
        Self { json, typed }
    }

    /// Encodes a typed value.
    ///
    /// # Errors
    /// When the value cannot be expressed in JSON (a map with keys that are no strings).
    pub fn of<T: serde::Serialize + Send + Sync + 'static>(value: T) -> Result<Self, serde_json::Error> {
        let json = serde_json::to_string(&value)?;
        Ok(Self { json: json.into(), typed: Arc::new(value) })
    }

    /// The canonical JSON text: one object.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The typed value; `None` when it is of another type.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.typed.downcast_ref()
    }

    /// The typed value, shared; `None` when it is of another type.
    pub fn shared<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        Arc::clone(&self.typed).downcast().ok()
    }
}

impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl Eq for Spec {}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}

/// A stored resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its identity.
    pub key: Key,
    /// Its metadata.
    pub meta: Meta,
    /// What its owner wants.
    pub spec: Spec,
    /// What the control plane observed; `None` for kinds without one or before the first.
    pub status: Option<Spec>,
}

impl Resource {
    /// The typed spec; `None` when the kind's spec is of another type.
    pub fn spec<T: 'static>(&self) -> Option<&T> {
        self.spec.get()
    }

    /// The typed status; `None` when there is none or it is of another type.
    pub fn status<T: 'static>(&self) -> Option<&T> {
        self.status.as_ref()?.get()
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.meta.label(key)
    }
}

/// One resource that a transaction changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which resource.
    pub key: Key,
    /// As it was; `None` when it was created.
    pub before: Option<Arc<Resource>>,
    /// As it is; `None` when it was deleted.
    pub after: Option<Arc<Resource>>,
}
