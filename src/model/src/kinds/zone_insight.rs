//! ZoneInsight: what is known of a zone control plane.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::proto_json::{self, ProtoTime, is_default, u64_text};
use super::registered::{SpecType, proto};
use crate::codec::Codec;

/// Spec of a ZoneInsight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ZoneInsight {
    /// Connections of the zone to global control planes, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<KdsSubscription>,
    /// Which global instance holds which admin stream; kept for older readers.
    #[serde(alias = "envoy_admin_streams", skip_serializing_if = "Option::is_none")]
    pub envoy_admin_streams: Option<EnvoyAdminStreams>,
    /// The last health check.
    #[serde(alias = "health_check", skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// Which global instance holds which stream.
    #[serde(alias = "kds_streams", skip_serializing_if = "Option::is_none")]
    pub kds_streams: Option<KdsStreams>,
}

impl ZoneInsight {
    /// Whether some subscription is connected.
    pub fn is_online(&self) -> bool {
        self.subscriptions.iter().any(KdsSubscription::is_online)
    }

    /// The newest subscription.
    pub fn last_subscription(&self) -> Option<&KdsSubscription> {
        self.subscriptions.last()
    }
}

/// One connection of a zone to a global control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KdsSubscription {
    /// Its identifier.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The global instance.
    #[serde(alias = "global_instance_id", skip_serializing_if = "String::is_empty")]
    pub global_instance_id: String,
    /// When it was opened.
    #[serde(alias = "connect_time", skip_serializing_if = "Option::is_none")]
    pub connect_time: Option<ProtoTime>,
    /// When it was closed.
    #[serde(alias = "disconnect_time", skip_serializing_if = "Option::is_none")]
    pub disconnect_time: Option<ProtoTime>,
    /// What was exchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<KdsSubscriptionStatus>,
    /// What the zone runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<ZoneVersion>,
    /// Grows while the stream lives.
    #[serde(deserialize_with = "proto_json::u32", skip_serializing_if = "is_default")]
    pub generation: u32,
    /// The configuration of the zone control plane, as JSON text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub config: String,
    /// Whether the zone sent a token.
    #[serde(alias = "auth_token_provided", skip_serializing_if = "is_default")]
    pub auth_token_provided: bool,
    /// The zone instance.
    #[serde(alias = "zone_instance_id", skip_serializing_if = "String::is_empty")]
    pub zone_instance_id: String,
}

impl KdsSubscription {
    /// Whether it is connected.
    pub fn is_online(&self) -> bool {
        self.connect_time.is_some() && self.disconnect_time.is_none()
    }
}

/// What a subscription exchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KdsSubscriptionStatus {
    /// When something was last exchanged.
    #[serde(alias = "last_update_time", skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<ProtoTime>,
    /// All types together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<KdsServiceStats>,
    /// By type.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stat: BTreeMap<String, KdsServiceStats>,
}

/// Counters of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KdsServiceStats {
    /// Responses that were sent.
    #[serde(alias = "responses_sent", with = "u64_text", skip_serializing_if = "is_default")]
    pub responses_sent: u64,
    /// Responses that were acknowledged.
    #[serde(alias = "responses_acknowledged", with = "u64_text", skip_serializing_if = "is_default")]
    pub responses_acknowledged: u64,
    /// Responses that were rejected.
    #[serde(alias = "responses_rejected", with = "u64_text", skip_serializing_if = "is_default")]
    pub responses_rejected: u64,
}

/// What a zone runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ZoneVersion {
    /// Its control plane.
    #[serde(alias = "kuma_cp", skip_serializing_if = "Option::is_none")]
    pub kuma_cp: Option<KumaCpVersion>,
}

/// A version of the control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KumaCpVersion {
    /// Version number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Git tag.
    #[serde(alias = "git_tag", skip_serializing_if = "String::is_empty")]
    pub git_tag: String,
    /// Git commit.
    #[serde(alias = "git_commit", skip_serializing_if = "String::is_empty")]
    pub git_commit: String,
    /// When it was built.
    #[serde(alias = "build_date", skip_serializing_if = "String::is_empty")]
    pub build_date: String,
    /// Whether it goes with the global control plane.
    #[serde(alias = "kuma_cp_global_compatible", skip_serializing_if = "is_default")]
    pub kuma_cp_global_compatible: bool,
}

/// Which global instance holds which admin stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyAdminStreams {
    /// For configuration dumps.
    #[serde(alias = "config_dump_global_instance_id", skip_serializing_if = "String::is_empty")]
    pub config_dump_global_instance_id: String,
    /// For statistics.
    #[serde(alias = "stats_global_instance_id", skip_serializing_if = "String::is_empty")]
    pub stats_global_instance_id: String,
    /// For clusters.
    #[serde(alias = "clusters_global_instance_id", skip_serializing_if = "String::is_empty")]
    pub clusters_global_instance_id: String,
}

/// The last health check of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthCheck {
    /// When it arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<ProtoTime>,
}

/// The streams of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KdsStreams {
    /// For clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clusters: Option<KdsStream>,
    /// For configuration dumps.
    #[serde(alias = "config_dump", skip_serializing_if = "Option::is_none")]
    pub config_dump: Option<KdsStream>,
    /// For statistics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<KdsStream>,
    /// Resources from global to zone.
    #[serde(alias = "global_to_zone", skip_serializing_if = "Option::is_none")]
    pub global_to_zone: Option<KdsStream>,
    /// Resources from zone to global.
    #[serde(alias = "zone_to_global", skip_serializing_if = "Option::is_none")]
    pub zone_to_global: Option<KdsStream>,
}

/// One stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KdsStream {
    /// The global instance that holds it.
    #[serde(alias = "global_instance_id", skip_serializing_if = "String::is_empty")]
    pub global_instance_id: String,
    /// When it was opened.
    #[serde(alias = "connect_time", skip_serializing_if = "Option::is_none")]
    pub connect_time: Option<ProtoTime>,
}

impl SpecType for ZoneInsight {}

pub(crate) const CODEC: Codec = proto::<ZoneInsight>();
