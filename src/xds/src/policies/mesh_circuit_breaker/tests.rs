//! Tests of circuit breakers.

use serde_json::json;

use super::POLICY;
use crate::policies::fixtures::{World, cluster, kri_of};

#[test]
fn every_cluster_reports_what_is_left_also_without_policy() {
    let (set, _) = World::new().edited_by(POLICY);
    for name in set.clusters.keys() {
        assert_eq!(cluster(&set, name)["circuitBreakers"], json!({"thresholds": [{"trackRemaining": true}]}), "{name}");
    }
}

#[test]
fn limits_are_set_where_they_are_stated() {
    let limits = json!({"connectionLimits": {"maxConnections": 10, "maxRetries": 3}});
    let spec = json!({
        "to": [{"targetRef": {"kind": "MeshService", "labels": {"kuma.io/display-name": "api"}}, "default": limits}],
        "rules": [{"default": {"connectionLimits": {"maxRequests": 7}}}]});
    let (set, _) = World::new().policy(POLICY.kind, spec).edited_by(POLICY);
    let threshold = |name: &str| cluster(&set, name)["circuitBreakers"]["thresholds"][0].clone();
    assert_eq!(threshold(&kri_of("api")), json!({"trackRemaining": true, "maxConnections": 10, "maxRetries": 3}));
    assert_eq!(threshold(&kri_of("store")), json!({"trackRemaining": true}));
    assert_eq!(threshold("self_inbound_dp_80"), json!({"trackRemaining": true, "maxRequests": 7}));
}

#[test]
fn detectors_that_are_not_asked_for_are_switched_off() {
    let outliers = json!({"interval": "10s", "healthyPanicThreshold": "62.5",
        "detectors": {"totalFailures": {"consecutive": 12}, "successRate": {"standardDeviationFactor": "1.9"}}});
    let spec = json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": {"outlierDetection": outliers}}]});
    let (set, _) = World::new().policy(POLICY.kind, spec).edited_by(POLICY);
    let api = cluster(&set, &kri_of("api"));
    assert_eq!(
        api["outlierDetection"],
        json!({"interval": "10s", "consecutive5xx": 12, "enforcingConsecutive5xx": 100,
            "enforcingConsecutiveGatewayFailure": 0, "enforcingConsecutiveLocalOriginFailure": 0,
            "enforcingSuccessRate": 100, "enforcingLocalOriginSuccessRate": 100, "successRateStdevFactor": 1900,
            "enforcingFailurePercentage": 0, "enforcingFailurePercentageLocalOrigin": 0})
    );
    assert_eq!(api["commonLbConfig"]["healthyPanicThreshold"]["value"], 62.5);
}

#[test]
fn disabled_detection_does_nothing() {
    let outliers =
        json!({"disabled": true, "healthyPanicThreshold": 10, "detectors": {"totalFailures": {"consecutive": 1}}});
    let spec = json!({"to": [{"targetRef": {"kind": "Mesh"}, "default": {"outlierDetection": outliers}}]});
    let (set, _) = World::new().policy(POLICY.kind, spec).edited_by(POLICY);
    let api = cluster(&set, &kri_of("api"));
    assert!(api["outlierDetection"].is_null() && api["commonLbConfig"].is_null());
}
