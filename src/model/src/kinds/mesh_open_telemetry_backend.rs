//! MeshOpenTelemetryBackend: a collector that policies refer to.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::conditions::ConditionsStatus;
use super::registered::{SpecType, with_status};
use super::rules::{self, MUST_NOT_BE_EMPTY, one_of};
use super::text_enum::text_enum;
use crate::codec::Codec;
use crate::schema::{self, Schema};
use crate::violation::Violations;

/// Spec of a MeshOpenTelemetryBackend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MeshOpenTelemetryBackend {
    /// Where the collector is; absent means on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// What it speaks; absent means gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<OtelProtocol>,
    /// What the environment of kuma-dp may say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Env>,
}

/// Where a collector is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// An IP address or a name; absent means on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// A port; absent means 4317.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// A path before `v1/<signal>`, for HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

text_enum! {
    /// What a collector speaks.
    pub enum OtelProtocol {
        /// OTLP over gRPC.
        Grpc = "grpc",
        /// OTLP over HTTP.
        Http = "http",
    }
}

text_enum! {
    /// Whether the environment counts.
    pub enum EnvMode {
        /// It does not.
        Disabled = "Disabled",
        /// It does when it says something.
        Optional = "Optional",
        /// It must say something.
        Required = "Required",
    }
}

text_enum! {
    /// Who wins.
    pub enum EnvPrecedence {
        /// The resource.
        ExplicitFirst = "ExplicitFirst",
        /// The environment.
        EnvFirst = "EnvFirst",
    }
}

/// What the environment of kuma-dp may say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Env {
    /// Whether it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<EnvMode>,
    /// Who wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precedence: Option<EnvPrecedence>,
    /// Whether it may differ by signal; absent means yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_signal_overrides: Option<bool>,
}

impl SpecType for MeshOpenTelemetryBackend {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let endpoint =
                schema::object([("address", schema::string()), ("port", schema::int32()), ("path", schema::string())]);
            let env = schema::object([
                ("mode", schema::choice(EnvMode::TEXTS).default_to("Optional")),
                ("precedence", schema::choice(EnvPrecedence::TEXTS).default_to("EnvFirst")),
                ("allowSignalOverrides", schema::boolean()),
            ]);
            schema::object([("endpoint", endpoint), ("protocol", schema::choice(OtelProtocol::TEXTS)), ("env", env)])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        if let Some(endpoint) = &self.endpoint {
            match endpoint.address.as_deref() {
                Some("") => faults.add("spec.endpoint.address", MUST_NOT_BE_EMPTY),
                Some(address) => rules::host(faults, "spec.endpoint.address", address),
                None => {}
            }
            if let Some(port) = endpoint.port {
                rules::port(faults, "spec.endpoint.port", port.into());
            }
            let speaks_http = self.protocol == Some(OtelProtocol::Http);
            if let Some(path) = endpoint.path.as_deref().filter(|path| !path.is_empty()) {
                faults.nest("spec.endpoint.path", path_faults(path, speaks_http));
            }
        }
        if self.protocol.as_ref().is_some_and(|protocol| !protocol.is_known()) {
            faults.add("spec.protocol", one_of("protocol", OtelProtocol::TEXTS));
        }
        if let Some(Env { mode, precedence, .. }) = &self.env {
            if mode.as_ref().is_some_and(|mode| !mode.is_known()) {
                faults.add("spec.env.mode", one_of("mode", EnvMode::TEXTS));
            }
            if precedence.as_ref().is_some_and(|precedence| !precedence.is_known()) {
                faults.add("spec.env.precedence", one_of("precedence", EnvPrecedence::TEXTS));
            }
        }
    }
}

fn path_faults(path: &str, speaks_http: bool) -> Violations {
    let mut faults = Violations::new();
    if !speaks_http {
        faults.add("", "must not be set when protocol is grpc");
        return faults;
    }
    if !path.starts_with('/') {
        faults.add("", "must start with /");
    }
    if path.contains(['?', '#']) {
        faults.add("", "must not contain query or fragment");
    }
    faults
}

pub(crate) const CODEC: Codec = with_status::<MeshOpenTelemetryBackend, ConditionsStatus>();
