//! References of policies to what they select: dataplanes, destinations and routes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rules::MUST_BE_DEFINED;
use super::text_enum::text_enum;
use crate::schema::{self, Schema};
use crate::violation::Violations;

text_enum! {
    /// What a reference points at.
    pub enum RefKind {
        /// Everything in the mesh.
        Mesh = "Mesh",
        /// Dataplanes by label.
        Dataplane = "Dataplane",
        /// MeshServices by label.
        MeshService = "MeshService",
        /// MeshExternalServices by label.
        MeshExternalService = "MeshExternalService",
        /// MeshMultiZoneServices by label.
        MeshMultiZoneService = "MeshMultiZoneService",
        /// MeshHTTPRoutes by label.
        MeshHttpRoute = "MeshHTTPRoute",
    }
}

impl Default for RefKind {
    /// A kind that was not given.
    fn default() -> Self {
        Self::Unknown("".into())
    }
}

/// `targetRef` of a policy or of one of its `to` items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRef {
    /// What it points at.
    pub kind: RefKind,
    /// Labels that the target must have; absent and empty both mean all of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// A section of the target: an inbound or a port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
}

impl TargetRef {
    /// A reference to the whole mesh: what a missing top-level reference means.
    pub fn mesh() -> Self {
        Self { kind: RefKind::Mesh, ..Self::default() }
    }

    /// The section, unless it is empty.
    pub fn section(&self) -> Option<&str> {
        self.section_name.as_deref().filter(|name| !name.is_empty())
    }

    /// The label with this key, unless it is empty.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.as_ref()?.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }
}

fn one() -> u32 {
    1
}

/// A destination of a route with its share of the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendRef {
    /// The destination.
    #[serde(flatten)]
    pub target: TargetRef,
    /// Its share relative to the weights of its neighbours.
    #[serde(default = "one")]
    pub weight: u32,
    /// A port of the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
}

/// The kinds that a top-level reference may have.
pub(crate) const TOP: &[RefKind] = &[RefKind::Mesh, RefKind::Dataplane];
/// The kinds that can take traffic.
pub(crate) const DESTINATIONS: &[RefKind] =
    &[RefKind::MeshService, RefKind::MeshExternalService, RefKind::MeshMultiZoneService];
/// The whole mesh, and the kinds that can take traffic.
pub(crate) const MESH_AND_DESTINATIONS: &[RefKind] =
    &[RefKind::Mesh, RefKind::MeshService, RefKind::MeshExternalService, RefKind::MeshMultiZoneService];
/// The above, and routes.
pub(crate) const ALL_TO: &[RefKind] = &[
    RefKind::Mesh,
    RefKind::MeshService,
    RefKind::MeshExternalService,
    RefKind::MeshMultiZoneService,
    RefKind::MeshHttpRoute,
];

const TO_TEXTS: &[&str] = &["Mesh", "MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute"];
const BACKEND_TEXTS: &[&str] =
    &["Mesh", "MeshService", "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute", "Dataplane"];

fn ref_schema(kinds: &[&str]) -> Schema {
    schema::object([
        ("kind", schema::choice(kinds)),
        ("labels", schema::map(schema::string())),
        ("sectionName", schema::string()),
    ])
    .required(&["kind"])
}

/// Schema of a policy's own reference.
pub(crate) fn top_schema() -> Schema {
    ref_schema(&["Mesh", "Dataplane"])
}

/// Schema of the reference of a `to` item.
pub(crate) fn to_schema() -> Schema {
    ref_schema(TO_TEXTS)
}

/// Schema of a [`BackendRef`].
pub(crate) fn backend_schema() -> Schema {
    schema::object([
        ("kind", schema::choice(BACKEND_TEXTS)),
        ("labels", schema::map(schema::string())),
        ("sectionName", schema::string()),
        ("port", schema::int32()),
        ("weight", schema::integer().default_to(1).at_least(0).at_most(u32::MAX)),
    ])
    .required(&["kind"])
}

/// The faults of a policy's own reference, at `spec.targetRef`. `has_rules`: it has inbound rules,
/// so a section may be selected.
pub(crate) fn check_top(faults: &mut Violations, target: Option<&TargetRef>, has_rules: bool) {
    if let Some(target) = target {
        faults.nest("spec.targetRef", target.faults(TOP, has_rules));
    }
}

/// Whether a top-level reference means the whole mesh.
pub(crate) fn is_mesh(target: Option<&TargetRef>) -> bool {
    target.is_none_or(|target| target.kind == RefKind::Mesh)
}

impl TargetRef {
    /// The faults of the reference where only `allowed` kinds may stand.
    pub(crate) fn faults(&self, allowed: &[RefKind], has_rules: bool) -> Violations {
        let mut faults = Violations::new();
        let kind = &self.kind;
        if kind.as_str().is_empty() {
            faults.add("kind", MUST_BE_DEFINED);
            return faults;
        }
        if !allowed.contains(kind) {
            faults.add("kind", format!("value '{kind}' is not supported"));
            return faults;
        }
        let has_labels = self.labels.as_ref().is_some_and(|labels| !labels.is_empty());
        let has_section = self.section().is_some();
        let without_section = matches!(kind, RefKind::Mesh | RefKind::MeshExternalService | RefKind::MeshHttpRoute);
        let with_labels = !matches!(kind, RefKind::Mesh | RefKind::Dataplane);
        if *kind == RefKind::Mesh && has_labels {
            faults.add("labels", "must not be set with kind Mesh");
        }
        if without_section && has_section {
            faults.add("sectionName", format!("must not be set with kind {kind}"));
        }
        if *kind == RefKind::Dataplane && has_section && !has_rules {
            faults.add("sectionName", "can only be used with inbound policies");
        }
        if with_labels && !has_labels {
            faults.add("labels", format!("must be set when kind is {kind}"));
        }
        faults
    }
}

impl BackendRef {
    /// The faults of the reference.
    pub(crate) fn faults(&self) -> Violations {
        let mut faults = self.target.faults(DESTINATIONS, false);
        if self.target.kind == RefKind::MeshMultiZoneService && self.port.is_none() {
            faults.add("port", "must be defined with kind MeshMultiZoneService");
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_checked_in_kumas_words() {
        for (raw, allowed, has_rules, expected) in [
            (json!({"kind": "Mesh"}), TOP, false, ""),
            (json!({"kind": ""}), TOP, false, "kind: must be defined"),
            (json!({"kind": "MeshSubset"}), TOP, false, "kind: value 'MeshSubset' is not supported"),
            (json!({"kind": "MeshService"}), TOP, false, "kind: value 'MeshService' is not supported"),
            (
                json!({"kind": "Mesh", "labels": {"a": "b"}, "sectionName": "x"}),
                TOP,
                true,
                "labels: must not be set with kind Mesh; sectionName: must not be set with kind Mesh",
            ),
            (json!({"kind": "Dataplane", "sectionName": "x"}), TOP, true, ""),
            (
                json!({"kind": "Dataplane", "sectionName": "x"}),
                TOP,
                false,
                "sectionName: can only be used with inbound policies",
            ),
            (json!({"kind": "MeshService"}), ALL_TO, false, "labels: must be set when kind is MeshService"),
            (json!({"kind": "MeshService", "labels": {"a": "b"}, "sectionName": "x"}), ALL_TO, false, ""),
            (
                json!({"kind": "MeshExternalService", "labels": {}, "sectionName": "x"}),
                ALL_TO,
                false,
                "sectionName: must not be set with kind MeshExternalService; labels: must be set when kind is MeshExternalService",
            ),
        ] {
            let target: TargetRef = serde_json::from_value(raw.clone()).expect("a reference");
            assert_eq!(target.faults(allowed, has_rules).to_string(), expected, "{raw}");
        }
    }

    #[test]
    fn backends_of_several_zones_need_a_port() {
        let raw = json!({"kind": "MeshMultiZoneService", "labels": {"a": "b"}});
        let backend: BackendRef = serde_json::from_value(raw).expect("a reference");
        assert_eq!(backend.faults().to_string(), "port: must be defined with kind MeshMultiZoneService");
    }
}
