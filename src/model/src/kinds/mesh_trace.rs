//! MeshTrace: where traces of calls go.

use serde::{Deserialize, Serialize};

use super::conditions::ConditionsStatus;
use super::int_or_string::IntOrString;
use super::otel_backend_ref::OtelBackendRef;
use super::registered::with_status;
use super::target_ref::TargetRef;
use super::text_enum::text_enum;
use crate::codec::Codec;

mod rules;

/// Spec of a MeshTrace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTrace {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// The conf.
    pub default: Conf,
}

/// Where traces go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conf {
    /// One backend, or none to switch tracing off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<Backend>>,
    /// Which calls are traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Sampling>,
    /// Tags of spans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<Tag>>,
}

text_enum! {
    /// Types of backends.
    pub enum BackendType {
        /// Zipkin.
        Zipkin = "Zipkin",
        /// Datadog.
        Datadog = "Datadog",
        /// An OpenTelemetry collector.
        OpenTelemetry = "OpenTelemetry",
    }
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// Which branch counts.
    #[serde(rename = "type")]
    pub kind: BackendType,
    /// For `Zipkin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipkin: Option<Zipkin>,
    /// For `Datadog`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datadog: Option<Datadog>,
    /// For `OpenTelemetry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<OtelBackend>,
}

/// Zipkin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Zipkin {
    /// Where spans are sent.
    pub url: String,
    /// Whether trace ids have 128 bits.
    #[serde(rename = "traceId128bit", skip_serializing_if = "Option::is_none")]
    pub trace_id_128_bit: Option<bool>,
    /// `httpJson` or `httpProto`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Whether both sides of a call share a span.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_span_context: Option<bool>,
}

/// Datadog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Datadog {
    /// Where spans are sent: `http://host:port`.
    pub url: String,
    /// Whether inbound and outbound calls are services of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_service: Option<bool>,
}

/// An OpenTelemetry collector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OtelBackend {
    /// The collector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<OtelBackendRef>,
}

/// Which calls are traced, in percent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// Upper bound of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overall: Option<IntOrString>,
    /// Of those that ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IntOrString>,
    /// By chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random: Option<IntOrString>,
}

/// A tag of spans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub literal: Option<String>,
    /// The header with its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderTag>,
}

/// A header with the value of a tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeaderTag {
    /// Its name.
    pub name: String,
    /// The value when it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

pub(crate) const CODEC: Codec = with_status::<MeshTrace, ConditionsStatus>();
