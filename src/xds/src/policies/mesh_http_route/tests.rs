//! Tests of HTTP routes: rules in, one line a route out.

use std::sync::Arc;

use expect_test::{Expect, expect};
use model::kinds::target_ref::BackendRef;
use model::registry::{MESH_EXTERNAL_SERVICE, MESH_SERVICE};
use serde_json::{Value, json};

use super::*;
use crate::envoy::core::RuntimeFractionalPercent;
use crate::envoy::endpoint::ClusterLoadAssignment;
use crate::envoy::matcher::string_matcher::MatchPattern;
use crate::envoy::route::header_matcher::HeaderMatchSpecifier;
use crate::envoy::route::query_parameter_matcher::QueryParameterMatchSpecifier;
use crate::envoy::route::redirect_action::{PathRewriteSpecifier, SchemeRewriteSpecifier};
use crate::envoy::route::route::Action;
use crate::envoy::route::route_action::{ClusterSpecifier, HostRewriteSpecifier};
use crate::envoy::route::route_match::PathSpecifier;
use crate::envoy::route::{Route, RouteAction, RouteMatch};
use crate::generators::outbound::{DestinationPort, OutboundTraits};
use crate::names::Kri;
use crate::policies::destinations::Destinations;
use crate::protocol::Protocol;

/// `web:80` (http), `api:http` which is also 8080, `db:5432` (tcp), `out:443` outside of the mesh.
struct Services;

fn service(name: &str, section: &str) -> Kri {
    let kind = if name == "out" { MESH_EXTERNAL_SERVICE } else { MESH_SERVICE };
    let [mesh, zone, namespace, name, section] = ["m", "", "", name, section].map(Into::into);
    Kri { kind, mesh, zone, namespace, name, section }
}

impl Destinations for Services {
    fn port(&self, kri: &Kri) -> Option<DestinationPort> {
        let (section, protocol) = match (&*kri.name, &*kri.section) {
            ("web", "80") => ("80", Protocol::Http),
            ("api", "http" | "8080") => ("http", Protocol::Http2),
            ("db", "5432") => ("5432", Protocol::Tcp),
            ("out", _) => ("443", Protocol::Http),
            _ => return None,
        };
        Some(DestinationPort { kri: service(&kri.name, section), protocol, spiffe_ids: None })
    }

    fn resolve(&self, _namespace: &str, backend: &BackendRef) -> Option<Kri> {
        let name = backend.target.label("kuma.io/display-name")?;
        Some(service(name, &backend.port.map(|port| port.to_string()).unwrap_or_default()))
    }

    fn load_assignment(&self, cluster: &str, _destination: &Kri) -> Arc<ClusterLoadAssignment> {
        Arc::new(ClusterLoadAssignment { cluster_name: cluster.to_owned(), ..Default::default() })
    }
}

fn generated(rules: Value) -> ResourceSet {
    let conf: HttpRouteConf = serde_json::from_value(json!({ "rules": rules })).expect("rules");
    let source = RuleSource { route_name: "r".to_owned(), namespace: String::new() };
    let sources = vec![source; conf.rules.len()];
    let rules = HttpRules { conf: Arc::new(conf), sources };
    let outbounds = [Outbound { address: "241.0.0.1".to_owned(), port: 80, destination: service("web", "80") }];
    let traits =
        OutboundTraits { bind_to_port: false, internal: Default::default(), kuma_tags: Some("&a=b&".to_owned()) };
    let inputs = OutboundInputs { outbounds: &outbounds, traits: &traits, identity: None, destinations: &Services };
    let mut set = ResourceSet::new();
    generate(&inputs, |_| Some(rules.clone()), &mut set);
    set
}

fn check(rules: Value, expected: Expect) {
    let mut set = generated(rules);
    let lines: Vec<String> = set.listeners.values_mut().flat_map(|l| l.routes_mut()).map(|r| line(r)).collect();
    expected.assert_eq(&(lines.join("\n") + "\n"));
}

fn backend(name: &str, port: u16, weight: u32) -> Value {
    json!({"kind": "MeshService", "labels": {"kuma.io/display-name": name}, "port": port, "weight": weight})
}

fn prefix(path: &str) -> Value {
    json!([{"path": {"type": "PathPrefix", "value": path}}])
}

fn line(route: &Route) -> String {
    let mut line = route.r#match.as_ref().map(matched).unwrap_or_default();
    match &route.action {
        Some(Action::Route(action)) => line += &forwarded(action),
        Some(Action::DirectResponse(response)) => line += &format!(" => {}", response.status),
        Some(Action::Redirect(redirect)) => {
            line += &format!(" => redirect {:?} {}", redirect.response_code(), redirect.host_redirect);
            if let Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) = &redirect.scheme_rewrite_specifier {
                line += &format!(" {scheme}");
            }
            match &redirect.path_rewrite_specifier {
                Some(PathRewriteSpecifier::PrefixRewrite(path)) => line += &format!(" prefix={path}"),
                Some(PathRewriteSpecifier::RegexRewrite(regex)) => line += &format!(" path={}", regex.substitution),
                other => assert!(other.is_none()),
            }
        }
        other => line += &format!(" {other:?}"),
    }
    for header in &route.request_headers_to_add {
        let action = header.append_action();
        line += &header.header.as_ref().map(|h| format!(" {action:?} {}={}", h.key, h.value)).unwrap_or_default();
    }
    for header in &route.response_headers_to_remove {
        line += &format!(" response-{header}");
    }
    format!("{line} [{}]", route.name.replace("9Zuf5Tg79OuZcQITwBbQykxAk2u4fRKrwYn3//AL4Yo=", "catch-all"))
}

fn fraction(fraction: &RuntimeFractionalPercent) -> String {
    let percent = fraction.default_value.expect("a default");
    format!(" {}/{:?}", percent.numerator, percent.denominator())
}

fn pattern(pattern: Option<&MatchPattern>) -> String {
    match pattern {
        Some(MatchPattern::Exact(text)) => format!("={text}"),
        Some(MatchPattern::Prefix(text)) => format!("={text}*"),
        Some(MatchPattern::SafeRegex(regex)) => format!("~{}", regex.regex),
        other => format!("{other:?}"),
    }
}

fn matched(matches: &RouteMatch) -> String {
    let mut line = match &matches.path_specifier {
        Some(PathSpecifier::Path(path)) => path.clone(),
        Some(PathSpecifier::Prefix(path)) => format!("{path}*"),
        Some(PathSpecifier::SafeRegex(regex)) => format!("~{}", regex.regex),
        other => format!("{other:?}"),
    };
    for header in &matches.headers {
        line += &format!(" {}", header.name);
        line += &match &header.header_match_specifier {
            Some(HeaderMatchSpecifier::StringMatch(string)) => pattern(string.match_pattern.as_ref()),
            Some(HeaderMatchSpecifier::PresentMatch(present)) => format!("?{present}"),
            other => format!("{other:?}"),
        };
    }
    for param in &matches.query_parameters {
        line += &format!(" ?{}", param.name);
        if let Some(QueryParameterMatchSpecifier::StringMatch(string)) = &param.query_parameter_match_specifier {
            line += &pattern(string.match_pattern.as_ref());
        }
    }
    line + &matches.runtime_fraction.as_ref().map(fraction).unwrap_or_default()
}

fn forwarded(action: &RouteAction) -> String {
    let mut line = match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(cluster)) => format!(" => {cluster}"),
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            let share = |c: &crate::envoy::route::weighted_cluster::ClusterWeight| {
                format!("{}:{}", c.name, c.weight.map_or(0, |w| w.value))
            };
            format!(" => {}", weighted.clusters.iter().map(share).collect::<Vec<_>>().join(","))
        }
        other => format!("{other:?}"),
    };
    match &action.host_rewrite_specifier {
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => line += &format!(" host={host}"),
        Some(HostRewriteSpecifier::AutoHostRewrite(_)) => line += " host=auto",
        other => assert!(other.is_none()),
    }
    if !action.prefix_rewrite.is_empty() {
        line += &format!(" prefix={}", action.prefix_rewrite);
    }
    line += &action.regex_rewrite.as_ref().map(|regex| format!(" path={}", regex.substitution)).unwrap_or_default();
    for mirror in &action.request_mirror_policies {
        line += &format!(
            " mirror={}{}",
            mirror.cluster,
            mirror.runtime_fraction.as_ref().map(fraction).unwrap_or_default()
        );
    }
    line
}

#[test]
fn without_rules_everything_goes_to_the_destination() {
    check(
        json!([]),
        expect![[r#"
        /* => kri_msvc_m___web_80 [catch-all]
    "#]],
    );
}

#[test]
fn specific_matches_come_before_general_ones() {
    let rules = json!([{"matches": [
        {"method": "GET"},
        {"path": {"type": "PathPrefix", "value": "/"}, "headers": [{"name": "a", "value": "b"}]},
        {"path": {"type": "RegularExpression", "value": "/x.*"}},
        {"path": {"type": "PathPrefix", "value": "/v1"}},
        {"path": {"type": "PathPrefix", "value": "/v1/long"}},
        {"path": {"type": "Exact", "value": "/v1/exact"}},
    ], "default": {}}]);
    check(
        rules,
        expect![[r#"
        /v1/exact => kri_msvc_m___web_80 [r]
        /v1/long => kri_msvc_m___web_80 [r]
        /v1/long/* => kri_msvc_m___web_80 [r]
        /v1 => kri_msvc_m___web_80 [r]
        /v1/* => kri_msvc_m___web_80 [r]
        ~/x.* => kri_msvc_m___web_80 [r]
        /* :method=GET => kri_msvc_m___web_80 [r]
        /* a=b => kri_msvc_m___web_80 [r]
        /* => kri_msvc_m___web_80 [catch-all]
    "#]],
    );
}

#[test]
fn headers_and_parameters_match_in_every_way() {
    let rules = json!([{"matches": [{
        "headers": [
            {"name": "e", "value": "1"},
            {"name": "e", "value": "2"},
            {"type": "Present", "name": "p"},
            {"type": "Absent", "name": "a"},
            {"type": "RegularExpression", "name": "r", "value": "x+"},
            {"type": "Prefix", "name": "s", "value": "y"},
            {"type": "Prefix", "name": "t", "value": ""},
        ],
        "queryParams": [
            {"type": "Exact", "name": "q", "value": "1"},
            {"type": "RegularExpression", "name": "u", "value": ".+"},
        ],
    }], "default": {}}]);
    check(
        rules,
        expect![[r#"
        /* e=1 p?true a?false r~x+ s=y* t?true ?q=1 ?u~.+ => kri_msvc_m___web_80 [r]
        /* => kri_msvc_m___web_80 [catch-all]
    "#]],
    );
}

#[test]
fn traffic_is_split_by_weight_and_external_hosts_are_named() {
    let external = json!({"kind": "MeshExternalService", "labels": {"kuma.io/display-name": "out"}, "weight": 2});
    let refs = json!([backend("api", 8080, 7), external, backend("web", 80, 0)]);
    check(
        json!([{"matches": prefix("/"), "default": {"backendRefs": refs}}]),
        expect![[r#"
        /* => kri_msvc_m___api_8080:7,kri_extsvc_m___out_:2 host=auto [r]
    "#]],
    );
}

#[test]
fn the_share_of_missing_backends_is_refused() {
    let refs = json!([backend("api", 8080, 2), backend("gone", 80, 1), backend("db", 5432, 1)]);
    check(
        json!([{"matches": prefix("/a"), "default": {"backendRefs": refs}}]),
        expect![[r#"
        /a 50/Hundred => 500 [r]
        /a => kri_msvc_m___api_8080 [r]
        /a/* 50/Hundred => 500 [r]
        /a/* => kri_msvc_m___api_8080 [r]
        /* => kri_msvc_m___web_80 [catch-all]
    "#]],
    );
    let refs = json!([backend("api", 8080, 2), backend("gone", 80, 1)]);
    check(
        json!([{"matches": prefix("/"), "default": {"backendRefs": refs}}]),
        expect![[r#"
        /* 333333/Million => 500 [r]
        /* => kri_msvc_m___api_8080 [r]
    "#]],
    );
}

#[test]
fn a_rule_whose_backends_are_all_missing_refuses_everything() {
    let refs = json!([backend("gone", 80, 1), backend("web", 80, 0)]);
    check(
        json!([{"matches": prefix("/"), "default": {"backendRefs": refs}}]),
        expect![[r#"
        /* => 500 [r]
    "#]],
    );
}

#[test]
fn prefixes_are_rewritten_by_whole_segments() {
    let rewrite = |to: &str| {
        json!([{"type": "URLRewrite", "urlRewrite": {
            "hostname": "h", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": to}}}])
    };
    for to in ["/v2", "/v2/"] {
        check(
            json!([{"matches": prefix("/v1"), "default": {"filters": rewrite(to)}}]),
            match to {
                "/v2" => expect![[r#"
                    /v1 => kri_msvc_m___web_80 host=h path=/v2 [r]
                    /v1/* => kri_msvc_m___web_80 host=h prefix=/v2/ [r]
                    /* => kri_msvc_m___web_80 [catch-all]
                "#]],
                _ => expect![[r#"
                    /v1 => kri_msvc_m___web_80 host=h path=/v2/ [r]
                    /v1/* => kri_msvc_m___web_80 host=h prefix=/v2/ [r]
                    /* => kri_msvc_m___web_80 [catch-all]
                "#]],
            },
        );
    }
}

#[test]
fn redirects_take_the_place_of_the_destination() {
    let filters = json!([
        {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "hostname": "h", "statusCode": 301,
            "path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"}}},
        {"type": "RequestMirror", "requestMirror": {"backendRef": backend("api", 8080, 1)}},
    ]);
    let refs = json!([backend("gone", 80, 1)]);
    check(
        json!([{"matches": prefix("/"), "default": {"filters": filters, "backendRefs": refs}}]),
        expect![[r#"
        /* => redirect MovedPermanently h https path=/x [r]
    "#]],
    );
}

#[test]
fn mirrors_get_their_share_and_unreadable_ones_nothing() {
    let mirror = |percentage: Value, name: &str| json!({"type": "RequestMirror", "requestMirror": {"percentage": percentage, "backendRef": backend(name, 8080, 1)}});
    let filters = json!([
        mirror(json!(5), "api"),
        mirror(json!("99.9"), "api"),
        mirror(json!("0.0001"), "api"),
        mirror(json!("many"), "api"),
        mirror(json!(5), "gone"),
    ]);
    check(
        json!([{"matches": prefix("/"), "default": {"filters": filters}}]),
        expect![[r#"
        /* => kri_msvc_m___web_80 mirror=kri_msvc_m___api_8080 5/Hundred mirror=kri_msvc_m___api_8080 9990/TenThousand mirror=kri_msvc_m___api_8080 1/Million [r]
    "#]],
    );
}

#[test]
fn headers_are_set_added_and_removed() {
    let filters = json!([
        {"type": "RequestHeaderModifier", "requestHeaderModifier":
            {"add": [{"name": "a", "value": "1"}], "set": [{"name": "s", "value": "2"}]}},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["x"]}},
    ]);
    check(
        json!([{"matches": prefix("/"), "default": {"filters": filters}}]),
        expect![[r#"
        /* => kri_msvc_m___web_80 OverwriteIfExistsOrAdd s=2 AppendIfExistsOrAdd a=1 response-x [r]
    "#]],
    );
}

#[test]
fn every_cluster_has_endpoints_and_only_used_ones_are_made() {
    let refs = json!([backend("api", 8080, 1)]);
    let set = generated(json!([{"matches": prefix("/"), "default": {"backendRefs": refs}}]));
    let names: Vec<_> = set.clusters.keys().collect();
    assert_eq!(names, ["kri_msvc_m___api_8080"]);
    assert_eq!(set.endpoints.keys().collect::<Vec<_>>(), names);
}

#[test]
fn the_caller_tells_its_tags_where_a_fault_injection_wants_them() {
    let mut set = generated(json!([]));
    let header = set.listeners.values_mut().flat_map(|l| l.route_configs_mut()).flat_map(|c| &c.request_headers_to_add);
    let values: Vec<_> = header.filter_map(|h| h.header.clone()).map(|h| (h.key, h.value)).collect();
    assert_eq!(values, [("x-kuma-tags".to_owned(), "&a=b&".to_owned())]);
}
