//! Workload: what a group of dataplanes runs.

use serde::{Deserialize, Serialize};

use super::registered::{SpecType, with_status};
use crate::codec::Codec;
use crate::schema::{self, Schema};
use std::sync::LazyLock;

/// Spec of a Workload: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Workload {}

/// Status of a Workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadStatus {
    /// Numbers of its dataplanes.
    pub dataplane_proxies: WorkloadProxies,
}

/// Numbers of dataplanes of a workload; all are always shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkloadProxies {
    /// Connected to the control plane.
    pub connected: u32,
    /// With a ready inbound.
    pub healthy: u32,
    /// All.
    pub total: u32,
}

impl SpecType for Workload {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| schema::object([]));
        Some(&SCHEMA)
    }
}

pub(crate) const CODEC: Codec = with_status::<Workload, WorkloadStatus>();
