//! MeshAccessLog: which calls are logged, where and how.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::conditions::ConditionsStatus;
use super::otel_backend_ref::OtelBackendRef;
use super::policy_parts::{Rule, To};
use super::registered::with_status;
use super::target_ref::TargetRef;
use super::text_enum::text_enum;
use crate::codec::Codec;

mod rules;

/// Spec of a MeshAccessLog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshAccessLog {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Logs of calls that they make.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<To<Conf>>,
    /// Logs of calls that they take.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule<Conf>>,
}

/// Where calls are logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conf {
    /// The backends; none switches logging off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<Backend>>,
}

text_enum! {
    /// Types of backends.
    pub enum BackendType {
        /// A TCP server.
        Tcp = "Tcp",
        /// A file.
        File = "File",
        /// An OpenTelemetry collector.
        OpenTelemetry = "OpenTelemetry",
    }
}

/// Where calls are logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// Which branch counts.
    #[serde(rename = "type")]
    pub kind: BackendType,
    /// For `Tcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpBackend>,
    /// For `File`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileBackend>,
    /// For `OpenTelemetry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<OtelBackend>,
}

/// A TCP server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpBackend {
    /// What is logged; absent means the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Host and port.
    pub address: String,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileBackend {
    /// What is logged; absent means the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Its absolute path.
    pub path: String,
}

text_enum! {
    /// Types of formats.
    pub enum FormatType {
        /// A line of text.
        Plain = "Plain",
        /// A JSON object.
        Json = "Json",
    }
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Format {
    /// Which branch is meant; when both are there, `plain` counts.
    #[serde(rename = "type")]
    pub kind: FormatType,
    /// A line with placeholders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<String>,
    /// Fields with placeholders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Vec<KeyValue>>,
    /// Whether fields without a value are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omit_empty_values: Option<bool>,
}

/// A field or an attribute with placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyValue {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// An OpenTelemetry collector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OtelBackend {
    /// Attributes of each record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Vec<KeyValue>>,
    /// The body of each record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// The collector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<OtelBackendRef>,
}

pub(crate) const CODEC: Codec = with_status::<MeshAccessLog, ConditionsStatus>();
