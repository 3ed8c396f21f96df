//! The merged conf.

use serde::Deserialize;
use serde_json::Value;

use super::super::otel::BackendRef;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Conf {
    pub(super) backends: Option<Vec<Backend>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Backend {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) tcp: Option<Tcp>,
    pub(super) file: Option<File>,
    pub(super) open_telemetry: Option<OpenTelemetry>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Tcp {
    pub(super) address: String,
    pub(super) format: Option<Format>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) format: Option<Format>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct OpenTelemetry {
    pub(super) backend_ref: Option<BackendRef>,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) body: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Format {
    pub(super) plain: Option<String>,
    pub(super) json: Option<Vec<KeyValue>>,
    pub(super) omit_empty_values: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct KeyValue {
    pub(super) key: String,
    pub(super) value: String,
}
