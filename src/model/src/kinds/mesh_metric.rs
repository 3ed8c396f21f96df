//! MeshMetric: which metrics proxies give, and to whom.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::conditions::ConditionsStatus;
use super::duration::GoDuration;
use super::otel_backend_ref::{self, OtelBackendRef};
use super::registered::{SpecType, with_status};
use super::rules::{self, MUST_BE_DEFINED};
use super::target_ref::{self, TargetRef};
use super::text_enum::text_enum;
use crate::codec::Codec;
use crate::schema::{self, Schema};
use crate::violation::Violations;

/// Spec of a MeshMetric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshMetric {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// The conf.
    pub default: Conf,
}

/// Which metrics are given, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Conf {
    /// Metrics of Envoy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<Sidecar>,
    /// Metrics of the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applications: Option<Vec<Application>>,
    /// Who gets them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backends: Option<Vec<Backend>>,
}

/// Metrics of Envoy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// Which of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profiles: Option<Profiles>,
    /// Whether those that never counted are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_unused: Option<bool>,
}

/// Which metrics of Envoy are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Profiles {
    /// Known sets of metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append_profiles: Option<Vec<Profile>>,
    /// Metrics that are left out of the sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Vec<Selector>>,
    /// Metrics that are given whatever the sets say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include: Option<Vec<Selector>>,
}

text_enum! {
    /// Known sets of metrics.
    pub enum ProfileName {
        /// All.
        All = "All",
        /// Those of the dashboards.
        Basic = "Basic",
        /// None.
        None = "None",
    }
}

/// A known set of metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name.
    pub name: ProfileName,
}

text_enum! {
    /// How a metric's name is compared.
    pub enum SelectorType {
        /// Starts with.
        Prefix = "Prefix",
        /// Matches an expression.
        Regex = "Regex",
        /// Equal.
        Exact = "Exact",
        /// Contains.
        Contains = "Contains",
    }
}

/// Metrics by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// How the name is compared.
    #[serde(rename = "type")]
    pub kind: SelectorType,
    /// The name, a part of it or an expression.
    #[serde(rename = "match")]
    pub matched: String,
}

/// Metrics of the workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Application {
    /// The name that they are labelled with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The address; absent means that of the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The port.
    pub port: u32,
}

text_enum! {
    /// Types of backends.
    pub enum BackendType {
        /// Prometheus, which asks for metrics.
        Prometheus = "Prometheus",
        /// An OpenTelemetry collector, which gets them.
        OpenTelemetry = "OpenTelemetry",
    }
}

/// Who gets metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// Which branch counts.
    #[serde(rename = "type")]
    pub kind: BackendType,
    /// For `Prometheus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Prometheus>,
    /// For `OpenTelemetry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_telemetry: Option<OtelBackend>,
}

/// Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Prometheus {
    /// The Prometheus that may ask; absent means any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The port on which the proxy answers.
    #[serde(skip_serializing_if = "is_zero")]
    pub port: u32,
    /// The path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// TLS towards Prometheus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<PrometheusTls>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

text_enum! {
    /// TLS towards Prometheus.
    pub enum PrometheusTlsMode {
        /// None.
        Disabled = "Disabled",
        /// With a certificate that is given to kuma-dp.
        ProvidedTls = "ProvidedTLS",
        /// With the certificate of the mesh.
        ActiveMtlsBackend = "ActiveMTLSBackend",
    }
}

/// TLS towards Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PrometheusTls {
    /// Which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PrometheusTlsMode>,
}

/// An OpenTelemetry collector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OtelBackend {
    /// Time between pushes; absent means a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<GoDuration>,
    /// The collector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<OtelBackendRef>,
}

impl SpecType for MeshMetric {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let application = schema::object([
                ("name", schema::string()),
                ("path", schema::string().default_to("/metrics")),
                ("address", schema::string()),
                ("port", schema::int32()),
            ]);
            let conf = schema::object([
                ("sidecar", sidecar_schema()),
                ("applications", schema::array(application.required(&["port"]))),
                ("backends", schema::array(backend_schema())),
            ]);
            schema::object([("targetRef", target_ref::top_schema()), ("default", conf)])
        });
        Some(&SCHEMA)
    }

    // The paths have a segment in singular beside the one in plural, as those of the reference.
    fn check(&self, faults: &mut Violations) {
        target_ref::check_top(faults, self.target_ref.as_ref(), false);
        for (i, application) in self.default.applications.iter().flatten().enumerate() {
            let path = format!("spec.default.applications.application[{i}]");
            rules::port(faults, &path, application.port.into());
        }
        for (i, backend) in self.default.backends.iter().flatten().enumerate() {
            faults.nest(&format!("spec.default.backends.backend[{i}]"), backend.faults());
        }
        if let Some(profiles) = self.default.sidecar.as_ref().and_then(|sidecar| sidecar.profiles.as_ref()) {
            faults.nest("spec.default.sidecar.profiles", profiles.faults());
        }
    }
}

fn sidecar_schema() -> Schema {
    let selector = schema::object([("type", schema::choice(SelectorType::TEXTS)), ("match", schema::string())])
        .required(&["match", "type"]);
    let profile = schema::object([("name", schema::choice(ProfileName::TEXTS))]).required(&["name"]);
    let profiles = schema::object([
        ("appendProfiles", schema::array(profile)),
        ("exclude", schema::array(selector.clone())),
        ("include", schema::array(selector)),
    ]);
    schema::object([("profiles", profiles), ("includeUnused", schema::boolean())])
}

fn backend_schema() -> Schema {
    let tls = schema::object([("mode", schema::choice(PrometheusTlsMode::TEXTS).default_to("Disabled"))]);
    let prometheus = schema::object([
        ("clientId", schema::string()),
        ("port", schema::int32().default_to(5670)),
        ("path", schema::string().default_to("/metrics")),
        ("tls", tls),
    ]);
    let open_telemetry =
        schema::object([("backendRef", otel_backend_ref::schema()), ("refreshInterval", schema::string())]);
    schema::object([
        ("type", schema::choice(BackendType::TEXTS)),
        ("prometheus", prometheus),
        ("openTelemetry", open_telemetry),
    ])
    .required(&["type"])
}

impl Backend {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        match &self.kind {
            BackendType::Prometheus => match &self.prometheus {
                None => faults.add("prometheus", MUST_BE_DEFINED),
                Some(prometheus) => rules::port(&mut faults, "port", prometheus.port.into()),
            },
            BackendType::OpenTelemetry => match &self.open_telemetry {
                None => faults.add("openTelemetry", MUST_BE_DEFINED),
                Some(backend) => {
                    let mut inner = Violations::new();
                    otel_backend_ref::check(&mut inner, backend.backend_ref.as_ref());
                    faults.nest("openTelemetry", inner);
                }
            },
            BackendType::Unknown(_) => faults.add("", "unrecognized type"),
        }
        faults
    }
}

impl Profiles {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        for (name, selectors) in [("exclude", &self.exclude), ("include", &self.include)] {
            for (i, selector) in selectors.iter().flatten().enumerate() {
                match &selector.kind {
                    SelectorType::Regex if Regex::new(&selector.matched).is_err() => {
                        faults.add(format!("{name}[{i}].match"), "invalid regex");
                    }
                    SelectorType::Unknown(kind) => faults.add(
                        format!("{name}[{i}].type"),
                        format!("unrecognized type '{kind}' - 'Regex', 'Prefix', 'Exact' are supported"),
                    ),
                    SelectorType::Regex | SelectorType::Prefix | SelectorType::Exact | SelectorType::Contains => {}
                }
            }
        }
        for (i, profile) in self.append_profiles.iter().flatten().enumerate() {
            if let ProfileName::Unknown(name) = &profile.name {
                faults.add(
                    format!("appendProfiles[{i}].name"),
                    format!("unrecognized profile name '{name}' - 'All', 'None', 'Basic' are supported"),
                );
            }
        }
        faults
    }
}

pub(crate) const CODEC: Codec = with_status::<MeshMetric, ConditionsStatus>();
