//! MeshLoadBalancingStrategy: how calls are spread over endpoints, near ones first.

use serde::{Deserialize, Serialize};

use super::duration::GoDuration;
use super::int_or_string::IntOrString;
use super::policy_parts::To;
use super::registered::plain;
use super::target_ref::TargetRef;
use super::text_enum::text_enum;
use crate::codec::Codec;

mod rules;

/// Spec of a MeshLoadBalancingStrategy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshLoadBalancingStrategy {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Confs by destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<To<Conf>>,
}

/// How calls are spread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conf {
    /// Which endpoints are preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality_awareness: Option<LocalityAwareness>,
    /// How one of the preferred is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// What of a request is hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_policies: Option<Vec<HashPolicy>>,
}

/// Which endpoints are preferred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityAwareness {
    /// Whether all zones are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Within the zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_zone: Option<LocalZone>,
    /// Among zones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_zone: Option<CrossZone>,
}

/// Preferences within the zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalZone {
    /// Tags that endpoints should share with the caller, most important first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity_tags: Option<Vec<AffinityTag>>,
}

/// A tag that endpoints should share with the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AffinityTag {
    /// Its key.
    pub key: String,
    /// Its weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// Preferences among zones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CrossZone {
    /// Where calls go when the zone has too few endpoints, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover: Option<Vec<Failover>>,
    /// Share of healthy endpoints below which calls go elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover_threshold: Option<FailoverThreshold>,
}

/// Where calls go when the zone has too few endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failover {
    /// The zones of callers; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<FromZones>,
    /// The zones of endpoints.
    pub to: ToZones,
}

/// Zones of callers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FromZones {
    /// Their names.
    pub zones: Vec<String>,
}

text_enum! {
    /// Which zones calls may go to.
    pub enum ToZoneType {
        /// None.
        None = "None",
        /// Those that are listed.
        Only = "Only",
        /// Any.
        Any = "Any",
        /// Any but those that are listed.
        AnyExcept = "AnyExcept",
    }
}

impl Default for ToZoneType {
    fn default() -> Self {
        Self::Unknown("".into())
    }
}

/// Zones of endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToZones {
    /// Which.
    #[serde(rename = "type")]
    pub kind: ToZoneType,
    /// Their names, for `Only` and `AnyExcept`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zones: Option<Vec<String>>,
}

/// Share of healthy endpoints below which calls go elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverThreshold {
    /// The share in percent.
    pub percentage: IntOrString,
}

text_enum! {
    /// How an endpoint is chosen.
    pub enum LoadBalancerType {
        /// In turns.
        RoundRobin = "RoundRobin",
        /// The one with fewest requests among a few.
        LeastRequest = "LeastRequest",
        /// By a hash on a ring.
        RingHash = "RingHash",
        /// By chance.
        Random = "Random",
        /// By a hash in a table.
        Maglev = "Maglev",
    }
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancer {
    /// Which branch counts.
    #[serde(rename = "type")]
    pub kind: LoadBalancerType,
    /// For `RoundRobin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_robin: Option<NoParameters>,
    /// For `LeastRequest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_request: Option<LeastRequest>,
    /// For `RingHash`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_hash: Option<RingHash>,
    /// For `Random`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random: Option<NoParameters>,
    /// For `Maglev`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maglev: Option<Maglev>,
}

/// A way to choose that has no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoParameters {}

/// The endpoint with fewest requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeastRequest {
    /// Among how many it is looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice_count: Option<u32>,
    /// How much requests count against weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_request_bias: Option<IntOrString>,
}

text_enum! {
    /// Hash functions.
    pub enum HashFunction {
        /// xxHash.
        XxHash = "XXHash",
        /// MurmurHash2.
        MurmurHash2 = "MurmurHash2",
    }
}

/// A hash on a ring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RingHash {
    /// The hash function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_function: Option<HashFunction>,
    /// Fewest places on the ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_ring_size: Option<u32>,
    /// Most places on the ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ring_size: Option<u32>,
}

/// A hash in a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Maglev {
    /// Size of the table, a prime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_size: Option<u32>,
}

text_enum! {
    /// What is hashed.
    pub enum HashPolicyType {
        /// A header.
        Header = "Header",
        /// A cookie.
        Cookie = "Cookie",
        /// The connection.
        Connection = "Connection",
        /// A query parameter.
        QueryParameter = "QueryParameter",
        /// State that a filter set.
        FilterState = "FilterState",
    }
}

/// What of a request is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HashPolicy {
    /// Which branch counts.
    #[serde(rename = "type")]
    pub kind: HashPolicyType,
    /// Whether the policies after it are left out when it gives a hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<bool>,
    /// For `Header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Named>,
    /// For `Cookie`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<Cookie>,
    /// For `Connection`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// For `QueryParameter`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_parameter: Option<Named>,
    /// For `FilterState`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_state: Option<FilterState>,
}

/// A header or a query parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Named {
    /// Its name.
    pub name: String,
}

/// A cookie, which Envoy makes when the request has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// How long it is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<GoDuration>,
    /// Its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// The connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// Whether its source address is hashed.
    #[serde(rename = "sourceIP", skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<bool>,
}

/// State that a filter set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilterState {
    /// Its key.
    pub key: String,
}

pub(crate) const CODEC: Codec = plain::<MeshLoadBalancingStrategy>();
