//! The merged conf.

use model::kinds::duration::GoDuration;
use model::kinds::int_or_string::IntOrString;
use serde::Deserialize;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Conf {
    pub(super) load_balancer: Option<LoadBalancer>,
    pub(super) hash_policies: Vec<HashPolicy>,
    pub(super) locality_awareness: Option<LocalityAwareness>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancer {
    #[serde(rename = "type")]
    pub(super) kind: LoadBalancerType,
    pub(super) least_request: Option<LeastRequest>,
    pub(super) ring_hash: Option<RingHash>,
    pub(super) maglev: Option<Maglev>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum LoadBalancerType {
    RoundRobin,
    LeastRequest,
    RingHash,
    Random,
    Maglev,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LeastRequest {
    pub(super) choice_count: Option<u32>,
    pub(super) active_request_bias: Option<IntOrString>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RingHash {
    pub(super) hash_function: Option<HashFunction>,
    pub(super) min_ring_size: Option<u32>,
    pub(super) max_ring_size: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum HashFunction {
    #[serde(rename = "XXHash")]
    XxHash,
    MurmurHash2,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Maglev {
    pub(super) table_size: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HashPolicy {
    #[serde(rename = "type")]
    pub(super) kind: HashPolicyType,
    pub(super) terminal: Option<bool>,
    pub(super) header: Option<Named>,
    pub(super) cookie: Option<Cookie>,
    pub(super) connection: Option<Connection>,
    pub(super) query_parameter: Option<Named>,
    pub(super) filter_state: Option<FilterState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum HashPolicyType {
    Header,
    Cookie,
    Connection,
    QueryParameter,
    FilterState,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Cookie {
    pub(super) name: String,
    pub(super) ttl: Option<GoDuration>,
    pub(super) path: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Connection {
    #[serde(rename = "sourceIP")]
    pub(super) source_ip: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct FilterState {
    pub(super) key: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LocalityAwareness {
    pub(super) disabled: Option<bool>,
    pub(super) local_zone: Option<LocalZone>,
    pub(super) cross_zone: Option<CrossZone>,
}

impl LocalityAwareness {
    pub(super) fn is_disabled(&self) -> bool {
        self.disabled == Some(true)
    }

    /// Whether endpoints must be grouped anew. What is switched off as a whole asks for nothing, even
    /// when another policy adds details.
    pub(super) fn rebuilds(&self) -> bool {
        !self.is_disabled() && (self.local_zone.is_some() || self.cross_zone.is_some())
    }

    /// Whether endpoints of the own zone have weights by affinity.
    pub(super) fn has_affinity(&self) -> bool {
        !self.is_disabled() && self.local_zone.as_ref().is_some_and(|local| !local.affinity_tags.is_empty())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LocalZone {
    pub(super) affinity_tags: Vec<AffinityTag>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct AffinityTag {
    pub(super) key: String,
    pub(super) weight: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CrossZone {
    pub(super) failover: Vec<Failover>,
    pub(super) failover_threshold: Option<FailoverThreshold>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Failover {
    pub(super) from: Option<FromZone>,
    pub(super) to: ToZone,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct FromZone {
    pub(super) zones: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct ToZone {
    #[serde(rename = "type")]
    pub(super) kind: ToZoneType,
    #[serde(default)]
    pub(super) zones: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum ToZoneType {
    None,
    Only,
    Any,
    AnyExcept,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct FailoverThreshold {
    pub(super) percentage: IntOrString,
}
