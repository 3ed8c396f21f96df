//! From a route's match to Envoy's, and the order in which matches are tried.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use model::kinds::mesh_http_route::{
    HeaderMatch, HeaderMatchType, PathMatch, PathMatchType, QueryParamMatch, QueryParamMatchType, RouteMatch,
};

use crate::envoy::matcher::{RegexMatcher, StringMatcher, string_matcher::MatchPattern};
use crate::envoy::route::header_matcher::HeaderMatchSpecifier;
use crate::envoy::route::query_parameter_matcher::QueryParameterMatchSpecifier;
use crate::envoy::route::route_match::PathSpecifier;
use crate::envoy::route::{HeaderMatcher, QueryParameterMatcher, RouteMatch as EnvoyMatch};

/// Which of the two Envoy matches of a path prefix one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twin {
    /// The path is the prefix itself.
    Whole,
    /// The path continues after the prefix and a slash.
    Below,
    /// The match has no twin.
    None,
}

/// One match as Envoy has it.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    /// The match.
    pub message: EnvoyMatch,
    /// Which part of a path prefix it is.
    pub twin: Twin,
}

/// The match of all requests: what a missing path means.
pub(super) fn catch_all() -> RouteMatch {
    RouteMatch {
        path: Some(PathMatch { kind: PathMatchType::PathPrefix, value: "/".to_owned() }),
        ..Default::default()
    }
}

/// Whether a match is that of all requests, written out.
pub(super) fn is_catch_all(matches: &RouteMatch) -> bool {
    let none = |list: Option<usize>| list.is_none_or(|len| len == 0);
    matches.path == catch_all().path
        && matches.method.is_none()
        && none(matches.query_params.as_ref().map(Vec::len))
        && none(matches.headers.as_ref().map(Vec::len))
}

/// Which of two matches is tried first: the more specific one.
///
/// A missing path means the prefix `/` and is compared as such; both come after all other paths, so
/// that neither hides a match by header nor one by regular expression.
pub(super) fn compare(a: &RouteMatch, b: &RouteMatch) -> Ordering {
    let rank = |matches: &RouteMatch| {
        (
            path_rank(matches.path.as_ref()),
            matches.method.is_none(),
            Reverse(matches.headers.as_ref().map_or(0, Vec::len)),
            Reverse(matches.query_params.as_ref().map_or(0, Vec::len)),
        )
    };
    rank(a).cmp(&rank(b))
}

fn path_rank(path: Option<&PathMatch>) -> (u8, Reverse<usize>) {
    match path {
        None => (3, Reverse(0)),
        Some(PathMatch { kind: PathMatchType::PathPrefix, value }) if value == "/" => (3, Reverse(0)),
        Some(PathMatch { kind, value }) => match kind {
            PathMatchType::Exact => (0, Reverse(0)),
            PathMatchType::PathPrefix => (1, Reverse(value.len())),
            PathMatchType::RegularExpression => (2, Reverse(value.len())),
            PathMatchType::Unknown(_) => (3, Reverse(0)),
        },
    }
}

/// The Envoy matches of a match, in the order in which they are tried. A prefix means whole segments
/// of the path, which takes two. A match of an unknown type matches nothing.
pub(super) fn matchers(matches: &RouteMatch) -> Vec<Matcher> {
    let Some(paths) = paths(matches.path.as_ref()) else { return Vec::new() };
    let Some(headers) = headers(matches) else { return Vec::new() };
    let params = matches.query_params.iter().flatten().map(query_parameter).collect::<Option<Vec<_>>>();
    let Some(params) = params else { return Vec::new() };
    let matcher = |(path, twin): (PathSpecifier, Twin)| Matcher {
        message: EnvoyMatch {
            path_specifier: Some(path),
            headers: headers.clone(),
            query_parameters: params.clone(),
            ..Default::default()
        },
        twin,
    };
    paths.into_iter().map(matcher).collect()
}

fn paths(path: Option<&PathMatch>) -> Option<Vec<(PathSpecifier, Twin)>> {
    let Some(PathMatch { kind, value }) = path else {
        return Some(vec![(PathSpecifier::Prefix("/".to_owned()), Twin::None)]);
    };
    Some(match kind {
        PathMatchType::Exact => vec![(PathSpecifier::Path(value.clone()), Twin::None)],
        PathMatchType::PathPrefix if value == "/" => vec![(PathSpecifier::Prefix("/".to_owned()), Twin::Below)],
        PathMatchType::PathPrefix => vec![
            (PathSpecifier::Path(value.clone()), Twin::Whole),
            (PathSpecifier::Prefix(format!("{value}/")), Twin::Below),
        ],
        PathMatchType::RegularExpression => vec![(PathSpecifier::SafeRegex(regex(value)), Twin::None)],
        PathMatchType::Unknown(_) => return None,
    })
}

/// The method is a header to Envoy. Of several matches of one header the first counts.
fn headers(matches: &RouteMatch) -> Option<Vec<HeaderMatcher>> {
    let method = matches.method.as_ref().map(|method| {
        header(":method", HeaderMatchSpecifier::StringMatch(string(MatchPattern::Exact(method.clone()))))
    });
    let mut seen = BTreeSet::new();
    let first = |matches: &&HeaderMatch| seen.insert(matches.name.to_ascii_lowercase());
    let others: Option<Vec<_>> = matches.headers.iter().flatten().filter(first).map(header_matcher).collect();
    Some(method.into_iter().chain(others?).collect())
}

pub(in crate::policies) fn header_matcher(matches: &HeaderMatch) -> Option<HeaderMatcher> {
    let value = &matches.value;
    let specifier = match matches.match_type() {
        HeaderMatchType::Exact => HeaderMatchSpecifier::StringMatch(string(MatchPattern::Exact(value.clone()))),
        HeaderMatchType::Present => HeaderMatchSpecifier::PresentMatch(true),
        HeaderMatchType::Absent => HeaderMatchSpecifier::PresentMatch(false),
        HeaderMatchType::RegularExpression => {
            HeaderMatchSpecifier::StringMatch(string(MatchPattern::SafeRegex(regex(value))))
        }
        HeaderMatchType::Prefix if value.is_empty() => HeaderMatchSpecifier::PresentMatch(true),
        HeaderMatchType::Prefix => HeaderMatchSpecifier::StringMatch(string(MatchPattern::Prefix(value.clone()))),
        HeaderMatchType::Unknown(_) => return None,
    };
    Some(header(&matches.name, specifier))
}

pub(in crate::policies) fn header(name: &str, specifier: HeaderMatchSpecifier) -> HeaderMatcher {
    HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(specifier), ..Default::default() }
}

fn query_parameter(matches: &QueryParamMatch) -> Option<QueryParameterMatcher> {
    let pattern = match &matches.kind {
        QueryParamMatchType::Exact => MatchPattern::Exact(matches.value.clone()),
        QueryParamMatchType::RegularExpression => MatchPattern::SafeRegex(regex(&matches.value)),
        QueryParamMatchType::Unknown(_) => return None,
    };
    Some(QueryParameterMatcher {
        name: matches.name.clone(),
        query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(string(pattern))),
    })
}

pub(in crate::policies) fn string(pattern: MatchPattern) -> StringMatcher {
    StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}

fn regex(pattern: &str) -> RegexMatcher {
    RegexMatcher { regex: pattern.to_owned(), ..Default::default() }
}
