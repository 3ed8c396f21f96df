//! MeshInsight: counters of a mesh.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::proto_json::{self, is_default};
use super::registered::{SpecType, proto};
use crate::codec::Codec;

/// Spec of a MeshInsight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshInsight {
    /// All dataplanes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataplanes: Option<DataplaneStat>,
    /// Dataplanes by version.
    #[serde(alias = "dp_versions", skip_serializing_if = "Option::is_none")]
    pub dp_versions: Option<DpVersions>,
    /// Dataplanes by certificate authority.
    #[serde(rename = "mTLS", skip_serializing_if = "Option::is_none")]
    pub mtls: Option<MeshMtlsStat>,
    /// Dataplanes by their type.
    #[serde(alias = "dataplanes_by_type", skip_serializing_if = "Option::is_none")]
    pub dataplanes_by_type: Option<DataplanesByType>,
    /// Resources by kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, ResourceStat>,
}

/// Numbers of dataplanes by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataplaneStat {
    /// All.
    #[serde(deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub total: u32,
    /// Connected and ready.
    #[serde(deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub online: u32,
    /// Not connected, or nothing ready.
    #[serde(deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub offline: u32,
    /// Connected, and some inbounds are not ready.
    #[serde(alias = "partially_degraded", deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub partially_degraded: u32,
}

/// Dataplanes by version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DpVersions {
    /// By version of kuma-dp.
    #[serde(alias = "kuma_dp", skip_serializing_if = "BTreeMap::is_empty")]
    pub kuma_dp: BTreeMap<String, DataplaneStat>,
    /// By version of Envoy.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub envoy: BTreeMap<String, DataplaneStat>,
}

/// Dataplanes by certificate authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshMtlsStat {
    /// By the one that issued their certificate.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub issued_backends: BTreeMap<String, DataplaneStat>,
    /// By those that they trust.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub supported_backends: BTreeMap<String, DataplaneStat>,
}

/// Dataplanes by their type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataplanesByType {
    /// Without a gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard: Option<DataplaneStat>,
    /// With any gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<DataplaneStat>,
    /// With a delegated gateway.
    #[serde(alias = "gateway_delegated", skip_serializing_if = "Option::is_none")]
    pub gateway_delegated: Option<DataplaneStat>,
}

/// Numbers of resources of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceStat {
    /// All.
    #[serde(deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub total: u32,
}

impl SpecType for MeshInsight {}

pub(crate) const CODEC: Codec = proto::<MeshInsight>();
