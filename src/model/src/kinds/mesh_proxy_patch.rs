//! MeshProxyPatch: changes of the Envoy configuration, after everything else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::registered::plain;
use super::target_ref::TargetRef;
use super::text_enum::text_enum;
use crate::codec::Codec;

mod rules;

/// Spec of a MeshProxyPatch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshProxyPatch {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// The conf.
    pub default: Conf,
}

/// Changes, made one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conf {
    /// The changes; policies add to one another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append_modifications: Option<Vec<Modification>>,
}

/// A change of exactly one kind of thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Modification {
    /// Of clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterMod>,
    /// Of listeners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<ListenerMod>,
    /// Of network filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_filter: Option<FilterMod>,
    /// Of HTTP filters.
    #[serde(rename = "httpFilter", skip_serializing_if = "Option::is_none")]
    pub http_filter: Option<FilterMod>,
    /// Of virtual hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_host: Option<VirtualHostMod>,
}

text_enum! {
    /// What is done.
    pub enum Operation {
        /// A thing is added.
        Add = "Add",
        /// Things are removed.
        Remove = "Remove",
        /// Things are changed.
        Patch = "Patch",
        /// A filter is put before all others.
        AddFirst = "AddFirst",
        /// A filter is put before another.
        AddBefore = "AddBefore",
        /// A filter is put after another.
        AddAfter = "AddAfter",
        /// A filter is put after all others.
        AddLast = "AddLast",
    }
}

text_enum! {
    /// Operations of JSON patches (RFC 6902).
    pub enum PatchOp {
        /// Adds a value.
        Add = "add",
        /// Removes a value.
        Remove = "remove",
        /// Replaces a value.
        Replace = "replace",
        /// Moves a value.
        Move = "move",
        /// Copies a value.
        Copy = "copy",
    }
}

/// An operation of a JSON patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonPatch {
    /// What is done.
    pub op: PatchOp,
    /// Where.
    pub path: String,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// A change of clusters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterMod {
    /// Which; absent means all.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<ClusterMatch>,
    /// What is done.
    pub operation: Operation,
    /// With what: YAML of the Envoy message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How, instead of a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_patches: Option<Vec<JsonPatch>>,
}

/// Which clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterMatch {
    /// Those that this generator made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Those of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A change of listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerMod {
    /// Which; absent means all.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<ListenerMatch>,
    /// What is done.
    pub operation: Operation,
    /// With what: YAML of the Envoy message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How, instead of a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_patches: Option<Vec<JsonPatch>>,
}

/// Which listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListenerMatch {
    /// Those that this generator made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Those of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Those with these tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
}

/// A change of filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterMod {
    /// Which; absent means all.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<FilterMatch>,
    /// What is done.
    pub operation: Operation,
    /// With what: YAML of the Envoy message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How, instead of a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_patches: Option<Vec<JsonPatch>>,
}

/// Which filters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterMatch {
    /// Those of listeners that this generator made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Those of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Those of listeners of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_name: Option<String>,
    /// Those of listeners with these tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_tags: Option<BTreeMap<String, String>>,
}

/// A change of virtual hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualHostMod {
    /// Which.
    #[serde(rename = "match", default)]
    pub matched: VirtualHostMatch,
    /// What is done.
    pub operation: Operation,
    /// With what: YAML of the Envoy message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How, instead of a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_patches: Option<Vec<JsonPatch>>,
}

/// Which virtual hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualHostMatch {
    /// Those of listeners that this generator made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Those of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Those of route configurations of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_configuration_name: Option<String>,
}

pub(crate) const CODEC: Codec = plain::<MeshProxyPatch>();
