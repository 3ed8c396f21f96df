//! MeshFaultInjection: requests that fail, wait or trickle on purpose.
//! Resource: Kuma `MeshFaultInjection`. Touches: HTTP filters of inbounds and of a zone egress.

use model::kinds::duration::GoDuration;
use model::kinds::int_or_string::IntOrString;
use model::kinds::matches::Match;
use model::registry;
use policy::InboundRules;
use serde::Deserialize;

use super::predicate::{extension, not, of};
use super::{Edit, Faults, Policy};
use crate::envoy::core::TypedExtensionConfig;
use crate::envoy::http::fault::v3::{FaultAbort, HttpFault, fault_abort};
use crate::envoy::types::{FractionalPercent, fractional_percent::DenominatorType};
use crate::envoy::{Any, duration, pack};
use crate::resource_set::{ListenerResource, add_http_filter_last};
use envoy_types::pb::envoy::extensions::common::matching::v3::ExtensionWithMatcher;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::{
    FaultDelay, FaultRateLimit, fault_delay, fault_rate_limit,
};
use envoy_types::pb::envoy::extensions::filters::common::matcher::action::v3::SkipFilter;
use envoy_types::pb::xds::r#type::matcher::v3::Matcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::matcher_list::FieldMatcher;
use envoy_types::pb::xds::r#type::matcher::v3::matcher::{MatcherList, MatcherType, OnMatch, on_match};

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_FAULT_INJECTION, edit };

/// The conf of one rule.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Conf {
    http: Vec<Fault>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Fault {
    abort: Option<Abort>,
    delay: Option<Delay>,
    response_bandwidth: Option<ResponseBandwidth>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Abort {
    http_status: u32,
    percentage: IntOrString,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Delay {
    value: GoDuration,
    percentage: IntOrString,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct ResponseBandwidth {
    limit: String,
    percentage: IntOrString,
}

fn edit(edit: &mut Edit<'_>) {
    let inbounds = edit.proxy.inbounds.iter().map(|inbound| (inbound.address.as_str(), inbound.port));
    let listeners = edit.proxy.zone_listeners.iter().map(|at| (at.address.as_str(), at.port));
    for (address, port) in inbounds.chain(listeners) {
        let Some(rules) = edit.rules.inbound(address, u32::from(port)) else { continue };
        let Some(listener) = edit.set.listener_at_mut(address, port) else { continue };
        inject(listener, rules, edit.faults);
    }
}

/// Every fault of every rule is a filter of its own; they act one after another.
fn inject(listener: &mut ListenerResource, rules: &InboundRules, faults: &mut Faults) {
    for rule in &rules.rules {
        let policy = &rule.origin.policy;
        let Some(conf) = faults.read::<Conf>(&rule.conf, Some(policy)) else { continue };
        let Some(matcher) = matcher(rule.matched.as_ref()) else { continue };
        for fault in &conf.http {
            let config = filter(fault, matcher.clone());
            for hcm in listener.hcms_mut() {
                add_http_filter_last(hcm, &policy.kri.to_string(), config.clone());
            }
        }
    }
}

/// Skips the filter for all but the match; `None` when the match is of a sort that is not known.
fn matcher(matched: Option<&Match>) -> Option<Matcher> {
    let Some(matched) = matched else { return Some(Matcher::default()) };
    let skip =
        OnMatch { on_match: Some(on_match::OnMatch::Action(extension("skip", &SkipFilter {}))), ..Default::default() };
    let others = FieldMatcher { predicate: Some(not(of(matched)?)), on_match: Some(skip) };
    Some(Matcher {
        matcher_type: Some(MatcherType::MatcherList(MatcherList { matchers: vec![others] })),
        ..Default::default()
    })
}

fn filter(fault: &Fault, matcher: Matcher) -> Any {
    let message = HttpFault {
        abort: fault.abort.as_ref().map(|abort| FaultAbort {
            percentage: percent(&abort.percentage),
            error_type: Some(fault_abort::ErrorType::HttpStatus(abort.http_status)),
            ..Default::default()
        }),
        delay: fault.delay.as_ref().map(|delay| FaultDelay {
            percentage: percent(&delay.percentage),
            fault_delay_secifier: Some(fault_delay::FaultDelaySecifier::FixedDelay(duration(delay.value.to_std()))),
        }),
        response_rate_limit: fault.response_bandwidth.as_ref().and_then(|bandwidth| {
            let limit = fault_rate_limit::FixedLimit { limit_kbps: limit_kbps(&bandwidth.limit)? };
            Some(FaultRateLimit {
                percentage: percent(&bandwidth.percentage),
                limit_type: Some(fault_rate_limit::LimitType::FixedLimit(limit)),
            })
        }),
        ..Default::default()
    };
    let fault =
        TypedExtensionConfig { name: "envoy.filters.http.fault".to_owned(), typed_config: Some(pack(&message)) };
    pack(&ExtensionWithMatcher { extension_config: Some(fault), xds_matcher: Some(matcher), ..Default::default() })
}

/// `50kbps`, `1 Mbps`, `2Gbps`; `None` for anything else.
fn limit_kbps(text: &str) -> Option<u64> {
    let text = text.trim();
    let units = [("kbps", 1), ("Mbps", 1_000), ("Gbps", 1_000_000)];
    let (number, factor) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))?;
    number.trim_end().parse::<u64>().ok()?.checked_mul(factor)
}

/// A percentage in the coarsest unit that holds it.
fn percent(share: &IntOrString) -> Option<FractionalPercent> {
    let share = share.as_decimal()?.clamp(0.0, 100.0);
    let units =
        [(1.0, DenominatorType::Hundred), (100.0, DenominatorType::TenThousand), (10_000.0, DenominatorType::Million)];
    let exact = |factor: f64| ((share * factor).round() - share * factor).abs() < 1e-6;
    let (factor, denominator) = units.into_iter().find(|(factor, _)| exact(*factor)).unwrap_or(units[2]);
    // Rounded, and at most a million.
    Some(FractionalPercent { numerator: (share * factor).round() as u32, denominator: denominator.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::policies::fixtures::{World, listener};

    fn faults(rules: Value) -> Vec<Value> {
        let (set, _) = World::new().policy(POLICY.kind, json!({ "rules": rules })).edited_by(POLICY);
        let inbound = listener(&set, "self_inbound_dp_80");
        let filters = inbound["filterChains"][0]["filters"][0]["typedConfig"]["httpFilters"].as_array().cloned();
        let mut filters = filters.expect("filters");
        assert_eq!(filters.pop().expect("a router")["name"], "envoy.filters.http.router");
        filters
    }

    #[test]
    fn every_fault_is_a_filter_named_by_its_policy() {
        let abort = json!({"abort": {"httpStatus": 503, "percentage": "2.5"}});
        let delay = json!({"delay": {"value": "5s", "percentage": 50},
            "responseBandwidth": {"limit": "50 Mbps", "percentage": "0.0001"}});
        let client = json!({"spiffeID": {"type": "Exact", "value": "spiffe://td/a"}});
        let filters = faults(json!([
            {"default": {"http": [delay]}},
            {"matches": [client], "default": {"http": [abort]}}]));
        let names: Vec<_> = filters.iter().map(|filter| filter["name"].clone()).collect();
        assert_eq!(names, ["kri_mfi_m___a_", "kri_mfi_m___a_"]);
        let fault = |i: usize| &filters[i]["typedConfig"]["extensionConfig"]["typedConfig"];
        assert_eq!(
            fault(0)["abort"],
            json!({"httpStatus": 503, "percentage": {"numerator": 250, "denominator": "TEN_THOUSAND"}})
        );
        assert_eq!(fault(1)["delay"], json!({"fixedDelay": "5s", "percentage": {"numerator": 50}}));
        assert_eq!(
            fault(1)["responseRateLimit"],
            json!({"fixedLimit": {"limitKbps": "50000"}, "percentage": {"numerator": 1, "denominator": "MILLION"}})
        );
        assert_eq!(filters[1]["typedConfig"]["xdsMatcher"], json!({}));
        let matcher = &filters[0]["typedConfig"]["xdsMatcher"]["matcherList"]["matchers"][0];
        assert_eq!(
            matcher["predicate"]["notMatcher"]["singlePredicate"]["valueMatch"],
            json!({"exact": "spiffe://td/a"})
        );
        assert_eq!(matcher["onMatch"]["action"]["name"], "skip");
    }

    #[test]
    fn a_limit_that_cannot_be_read_spares_the_other_faults() {
        let broken = json!({"abort": {"httpStatus": 500, "percentage": 100}, "responseBandwidth": {"limit": "kbps", "percentage": 1}});
        let filters = faults(json!([{"default": {"http": [broken]}}]));
        let fault = &filters[0]["typedConfig"]["extensionConfig"]["typedConfig"];
        assert_eq!((&fault["abort"]["httpStatus"], &fault["responseRateLimit"]), (&json!(500), &Value::Null));
    }
}
