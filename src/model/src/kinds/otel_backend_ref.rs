//! References of observability policies to OpenTelemetry backends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rules::{MUST_BE_DEFINED, one_of};
use super::text_enum::text_enum;
use crate::schema::{self, Schema};
use crate::violation::Violations;

text_enum! {
    /// The kind that a [`OtelBackendRef`] names.
    pub enum OtelBackendKind {
        /// A MeshOpenTelemetryBackend of the mesh.
        MeshOpenTelemetryBackend = "MeshOpenTelemetryBackend",
    }
}

/// A MeshOpenTelemetryBackend of the mesh, by label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtelBackendRef {
    /// Always `MeshOpenTelemetryBackend`.
    pub kind: OtelBackendKind,
    /// Labels that the backend must have; the oldest one that has them counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// Schema of an [`OtelBackendRef`].
pub(crate) fn schema() -> Schema {
    schema::object([("kind", schema::choice(OtelBackendKind::TEXTS)), ("labels", schema::map(schema::string()))])
        .required(&["kind"])
}

/// The faults of a reference at `backendRef`, which must be there.
pub(crate) fn check(faults: &mut Violations, backend: Option<&OtelBackendRef>) {
    let Some(backend) = backend else {
        faults.add("backendRef", MUST_BE_DEFINED);
        return;
    };
    if backend.labels.as_ref().is_none_or(BTreeMap::is_empty) {
        faults.add("backendRef", "backendRef must have exactly one defined: labels");
    }
    if !backend.kind.is_known() {
        faults.add("backendRef.kind", one_of("kind", OtelBackendKind::TEXTS));
    }
}
