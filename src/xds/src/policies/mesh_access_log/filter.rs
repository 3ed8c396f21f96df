//! Which connections and requests a logger writes down.

use model::kinds::matches::{Match, SpiffeMatchType};

use crate::envoy::accesslog::access_log_filter::FilterSpecifier;
use crate::envoy::accesslog::{AccessLogFilter, ExtensionFilter, MetadataFilter, extension_filter};
use crate::envoy::matcher::metadata_matcher::{PathSegment, path_segment::Segment};
use crate::envoy::matcher::value_matcher::{MatchPattern, NullMatch};
use crate::envoy::matcher::{MetadataMatcher, StringMatcher, ValueMatcher, string_matcher};
use crate::envoy::{BoolValue, pack};
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;

/// Where the route of a request is kept.
pub(super) const ROUTES_NAMESPACE: &str = "kuma.routes";
/// Under which key.
pub(super) const ROUTE_KEY: &str = "route_kri";

/// Only what this client sends; `None` for everything. What is not known is nobody.
pub(super) fn of_client(matched: &Match) -> Option<AccessLogFilter> {
    let mut terms = Vec::new();
    if let Some(id) = &matched.spiffe_id {
        let value = quoted(&id.value);
        terms.push(match id.kind {
            SpiffeMatchType::Exact => format!("connection.uri_san_peer_certificate == {value}"),
            SpiffeMatchType::Prefix => format!("connection.uri_san_peer_certificate.startsWith({value})"),
            SpiffeMatchType::Unknown(_) => "false".to_owned(),
        });
    }
    if let Some(sni) = &matched.sni {
        terms.push(format!("connection.requested_server_name == {}", quoted(&sni.value)));
    }
    if terms.is_empty() {
        return None;
    }
    let config = pack(&ExpressionFilter { expression: terms.join(" && "), ..Default::default() });
    Some(specified(FilterSpecifier::ExtensionFilter(ExtensionFilter {
        name: "envoy.access_loggers.extension_filters.cel".to_owned(),
        config_type: Some(extension_filter::ConfigType::TypedConfig(config)),
    })))
}

/// A string literal of CEL; JSON's is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Only requests that took no route with loggers of its own.
pub(super) fn of_other_routes() -> AccessLogFilter {
    of_route_value(true, MatchPattern::NullMatch(NullMatch {}))
}

/// Only requests that took this route.
pub(super) fn of_route(kri: &str) -> AccessLogFilter {
    let exact = string_matcher::MatchPattern::Exact(kri.to_owned());
    let matcher = StringMatcher { match_pattern: Some(exact), ..Default::default() };
    of_route_value(false, MatchPattern::StringMatch(matcher))
}

fn of_route_value(match_if_key_not_found: bool, pattern: MatchPattern) -> AccessLogFilter {
    specified(FilterSpecifier::MetadataFilter(MetadataFilter {
        match_if_key_not_found: Some(BoolValue { value: match_if_key_not_found }),
        matcher: Some(MetadataMatcher {
            filter: ROUTES_NAMESPACE.to_owned(),
            path: vec![PathSegment { segment: Some(Segment::Key(ROUTE_KEY.to_owned())) }],
            value: Some(ValueMatcher { match_pattern: Some(pattern) }),
            invert: false,
        }),
    }))
}

fn specified(specifier: FilterSpecifier) -> AccessLogFilter {
    AccessLogFilter { filter_specifier: Some(specifier) }
}
