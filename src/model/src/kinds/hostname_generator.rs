//! HostnameGenerator: hostnames of destinations from a template.

use serde::{Deserialize, Serialize};

use super::mesh_external_service::TypedExtension;
use super::mesh_external_service::extension_schema;
use super::registered::{SpecType, plain};
use super::rules::MUST_NOT_BE_EMPTY;
use super::selector::LabelSelector;
use crate::codec::Codec;
use crate::go_template::{Data, GoTemplate};
use crate::names::dns_1123_subdomain;
use crate::schema::{self, Schema};
use crate::violation::Violations;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Spec of a HostnameGenerator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostnameGenerator {
    /// The destinations that get a hostname.
    pub selector: GeneratorSelector,
    /// The hostname, a Go template.
    pub template: String,
    /// An extension that makes hostnames known elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<TypedExtension>,
}

/// The destinations of a generator: exactly one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GeneratorSelector {
    /// MeshServices by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh_service: Option<LabelSelector>,
    /// MeshExternalServices by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh_external_service: Option<LabelSelector>,
    /// MeshMultiZoneServices by label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh_multi_zone_service: Option<LabelSelector>,
}

impl SpecType for HostnameGenerator {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let selector = || schema::object([("matchLabels", schema::map(schema::string()))]);
            schema::object([
                (
                    "selector",
                    schema::object([
                        ("meshService", selector()),
                        ("meshExternalService", selector()),
                        ("meshMultiZoneService", selector()),
                    ]),
                ),
                ("template", schema::string()),
                ("extension", extension_schema()),
            ])
            .required(&["template"])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        let GeneratorSelector { mesh_service, mesh_external_service, mesh_multi_zone_service } = &self.selector;
        let defined = [mesh_service, mesh_external_service, mesh_multi_zone_service];
        if defined.iter().filter(|selector| selector.is_some()).count() != 1 {
            faults.add("spec.selector", "exact one selector (meshService, meshExternalService) must be defined");
        }
        if let Err(message) = check_template(&self.template) {
            faults.add("spec.template", message);
        }
        if self.extension.as_ref().is_some_and(|extension| extension.kind.is_empty()) {
            faults.add("spec.extension.type", MUST_NOT_BE_EMPTY);
        }
    }
}

/// Renders the template with values that stand for real ones, and checks the hostname.
fn check_template(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(MUST_NOT_BE_EMPTY.to_owned());
    }
    let template = GoTemplate::parse(text).map_err(|why| format!("couldn't parse template: {why}"))?;
    let fields = ["Name", "DisplayName", "Namespace", "Mesh", "Zone"].map(|field| (field, field.to_lowercase()));
    let data = Data { fields: &BTreeMap::from(fields), label: &|_| Some("label".to_owned()) };
    let hostname = template.render(&data).map_err(|why| format!("couldn't render template with stub values: {why}"))?;
    let messages = dns_1123_subdomain(&hostname);
    if messages.is_empty() {
        return Ok(());
    }
    Err(format!("template renders to {hostname:?} which is not a valid DNS name: {}", messages.join(", ")))
}

pub(crate) const CODEC: Codec = plain::<HostnameGenerator>();
