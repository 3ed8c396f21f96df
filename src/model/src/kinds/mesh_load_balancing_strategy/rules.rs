//! Schema and rules of MeshLoadBalancingStrategy.

use std::sync::LazyLock;

use super::{
    Conf, CrossZone, Failover, HashFunction, HashPolicy, HashPolicyType, LoadBalancerType, LocalZone,
    MeshLoadBalancingStrategy, ToZoneType,
};
use crate::kinds::policy_parts::{self, To};
use crate::kinds::registered::SpecType;
use crate::kinds::rules::{GREATER_THAN_0, MUST_BE_DEFINED, MUST_NOT_BE_EMPTY, STRING_IS_NO_NUMBER, percentage};
use crate::kinds::target_ref::{self, RefKind};
use crate::schema::{self, Schema};
use crate::violation::Violations;

impl SpecType for MeshLoadBalancingStrategy {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let conf = schema::object([
                ("localityAwareness", locality_schema()),
                ("loadBalancer", load_balancer_schema()),
                ("hashPolicies", schema::array(hash_policy_schema())),
            ]);
            schema::object([
                ("targetRef", target_ref::top_schema()),
                ("to", policy_parts::to_schema(conf, &["targetRef"])),
            ])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        target_ref::check_top(faults, self.target_ref.as_ref(), false);
        policy_parts::check_to(faults, &self.to, target_ref::ALL_TO, to_faults);
    }
}

fn locality_schema() -> Schema {
    let tag = schema::object([("key", schema::string()), ("weight", schema::int32())]).required(&["key"]);
    let from = schema::object([("zones", schema::array(schema::string()))]).required(&["zones"]);
    let to = schema::object([("type", schema::choice(ToZoneType::TEXTS)), ("zones", schema::array(schema::string()))]);
    let failover = schema::object([("from", from), ("to", to.required(&["type"]))]).required(&["to"]);
    let threshold = schema::object([("percentage", schema::int_or_string())]).required(&["percentage"]);
    schema::object([
        ("disabled", schema::boolean()),
        ("localZone", schema::object([("affinityTags", schema::array(tag))])),
        ("crossZone", schema::object([("failover", schema::array(failover)), ("failoverThreshold", threshold)])),
    ])
}

fn load_balancer_schema() -> Schema {
    const RING_SIZE_MAX: u32 = 8_000_000;
    const TABLE_SIZE_MAX: u32 = 5_000_011;
    let size = |max| schema::int32().at_least(1).at_most(max);
    let least_request =
        schema::object([("choiceCount", schema::int32().at_least(2)), ("activeRequestBias", schema::int_or_string())]);
    let ring_hash = schema::object([
        ("hashFunction", schema::choice(HashFunction::TEXTS)),
        ("minRingSize", size(RING_SIZE_MAX)),
        ("maxRingSize", size(RING_SIZE_MAX)),
    ]);
    schema::object([
        ("type", schema::choice(LoadBalancerType::TEXTS)),
        ("roundRobin", schema::object([])),
        ("leastRequest", least_request),
        ("ringHash", ring_hash),
        ("random", schema::object([])),
        ("maglev", schema::object([("tableSize", size(TABLE_SIZE_MAX))])),
    ])
    .required(&["type"])
}

fn hash_policy_schema() -> Schema {
    let named = |field: &'static str| schema::object([(field, schema::string().min_len(1))]).required(&[field]);
    let cookie =
        schema::object([("name", schema::string().min_len(1)), ("ttl", schema::string()), ("path", schema::string())]);
    schema::object([
        ("type", schema::choice(HashPolicyType::TEXTS)),
        ("terminal", schema::boolean()),
        ("header", named("name")),
        ("cookie", cookie.required(&["name"])),
        ("connection", schema::object([("sourceIP", schema::boolean())])),
        ("queryParameter", named("name")),
        ("filterState", named("key")),
    ])
    .required(&["type"])
}

fn to_faults(to: &To<Conf>) -> Violations {
    let mut faults = Violations::new();
    let Conf { locality_awareness, load_balancer, hash_policies } = &to.default;
    if to.target_ref.kind == RefKind::MeshHttpRoute {
        const NOT_FOR_ROUTES: &str =
            "field is not allowed when targetRef.kind is MeshHTTPRoute, only hashPolicies is supported";
        if load_balancer.is_some() {
            faults.add("loadBalancer", NOT_FOR_ROUTES);
        }
        if locality_awareness.is_some() {
            faults.add("localityAwareness", NOT_FOR_ROUTES);
        }
    }
    if let Some(locality) = locality_awareness {
        if let Some(local) = &locality.local_zone {
            faults.nest("localityAwareness.localZone", local.faults());
        }
        if let Some(cross) = &locality.cross_zone {
            if to.target_ref.kind == RefKind::MeshService {
                faults.add("localityAwareness.crossZone", "must not be set: MeshService traffic is local");
            }
            faults.nest("localityAwareness.crossZone", cross.faults());
        }
    }
    let bias =
        load_balancer.as_ref().and_then(|balancer| balancer.least_request.as_ref()?.active_request_bias.as_ref());
    if let Some(bias) = bias {
        const PATH: &str = "loadBalancer.leastRequest.activeRequestBias";
        match bias.as_decimal() {
            None => faults.add(PATH, STRING_IS_NO_NUMBER),
            Some(bias) if bias < 0.0 => faults.add(PATH, "must be greater or equal then: 0"),
            Some(_) => {}
        }
    }
    for (n, policy) in hash_policies.iter().flatten().enumerate() {
        faults.nest(&format!("hashPolicies[{n}]"), policy.faults());
    }
    faults
}

impl LocalZone {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        let tags = self.affinity_tags.as_deref().unwrap_or_default();
        for (n, tag) in tags.iter().enumerate() {
            if tag.key.is_empty() {
                faults.add(format!("affinityTags[{n}].key"), MUST_NOT_BE_EMPTY);
            }
            if tag.weight == Some(0) {
                faults.add(format!("affinityTags[{n}].weight"), GREATER_THAN_0);
            }
        }
        let weighted = tags.iter().filter(|tag| tag.weight.is_some()).count();
        if weighted != 0 && weighted != tags.len() {
            faults.add("affinityTags", "all or none affinity tags should have weight");
        }
        faults
    }
}

impl CrossZone {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        for (n, failover) in self.failover.iter().flatten().enumerate() {
            faults.nest(&format!("failover[{n}]"), failover.faults());
        }
        if let Some(threshold) = &self.failover_threshold {
            const PATH: &str = "failoverThreshold.percentage";
            percentage(&mut faults, PATH, &threshold.percentage);
            if threshold.percentage.as_decimal() == Some(0.0) {
                faults.add(PATH, GREATER_THAN_0);
            }
        }
        faults
    }
}

impl Failover {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if let Some(from) = &self.from {
            if from.zones.is_empty() {
                faults.add("from.zones", MUST_NOT_BE_EMPTY);
            }
            for (m, _) in from.zones.iter().enumerate().filter(|(_, zone)| zone.is_empty()) {
                faults.add(format!("from.zones[{m}]"), MUST_NOT_BE_EMPTY);
            }
        }
        let kind = &self.to.kind;
        let has_zones = self.to.zones.as_ref().is_some_and(|zones| !zones.is_empty());
        match kind {
            ToZoneType::Any | ToZoneType::None if has_zones => {
                faults.add("to.zones", format!("must be empty when type is {kind}"));
            }
            ToZoneType::Only | ToZoneType::AnyExcept if !has_zones => {
                faults.add("to.zones", format!("must not be empty when type is {kind}"));
            }
            ToZoneType::Unknown(_) => faults.add("to.type", "unrecognized type"),
            ToZoneType::Any | ToZoneType::None | ToZoneType::Only | ToZoneType::AnyExcept => {}
        }
        faults
    }
}

impl HashPolicy {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        let branch = match &self.kind {
            HashPolicyType::Header => ("header", self.header.is_some()),
            HashPolicyType::Cookie => ("cookie", self.cookie.is_some()),
            HashPolicyType::Connection => ("connection", self.connection.is_some()),
            HashPolicyType::QueryParameter => ("queryParameter", self.query_parameter.is_some()),
            HashPolicyType::FilterState => ("filterState", self.filter_state.is_some()),
            HashPolicyType::Unknown(_) => {
                faults.add("type", "unrecognized type");
                return faults;
            }
        };
        if let (path, false) = branch {
            faults.add(path, MUST_BE_DEFINED);
        }
        let path = self.cookie.as_ref().filter(|_| self.kind == HashPolicyType::Cookie).and_then(|c| c.path.as_ref());
        if path.is_some_and(|path| !path.starts_with('/')) {
            faults.add("cookie.path", "must be an absolute path");
        }
        faults
    }
}
