//! A route's filters: changed headers, redirects, rewrites and mirrors.

use model::kinds::mesh_http_route::{
    Filter, FilterType, HeaderKeyValue, HeaderModifier, PathRewrite, PathRewriteType, RequestMirror, RequestRedirect,
    UrlRewrite,
};

use super::matches::Twin;
use crate::envoy::core::header_value_option::HeaderAppendAction;
use crate::envoy::core::{HeaderValue, HeaderValueOption, RuntimeFractionalPercent};
use crate::envoy::matcher::{RegexMatchAndSubstitute, RegexMatcher};
use crate::envoy::route::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
use crate::envoy::route::route::Action;
use crate::envoy::route::route_action::{HostRewriteSpecifier, RequestMirrorPolicy};
use crate::envoy::route::{RedirectAction, Route, RouteAction};
use crate::envoy::types::{FractionalPercent, fractional_percent::DenominatorType};

/// A filter with what it refers to resolved.
#[derive(Clone, Debug)]
pub(super) enum RouteFilter<'a> {
    /// Changes headers of requests.
    RequestHeaders(&'a HeaderModifier),
    /// Changes headers of responses.
    ResponseHeaders(&'a HeaderModifier),
    /// Answers with a redirect.
    Redirect(&'a RequestRedirect),
    /// Changes what the destination sees of host and path.
    Rewrite(&'a UrlRewrite),
    /// Sends a copy to this cluster.
    Mirror(&'a RequestMirror, String),
}

impl<'a> RouteFilter<'a> {
    /// Reads a filter; `mirror` finds the cluster of a mirror's backend. `None` for one that can have
    /// no effect: of unknown type, without its branch, or with a backend that is not there.
    pub(super) fn resolve(
        filter: &'a Filter,
        mirror: impl FnOnce(&'a RequestMirror) -> Option<String>,
    ) -> Option<Self> {
        match &filter.kind {
            FilterType::RequestHeaderModifier => filter.request_header_modifier.as_ref().map(Self::RequestHeaders),
            FilterType::ResponseHeaderModifier => filter.response_header_modifier.as_ref().map(Self::ResponseHeaders),
            FilterType::RequestRedirect => filter.request_redirect.as_ref().map(Self::Redirect),
            FilterType::UrlRewrite => filter.url_rewrite.as_ref().map(Self::Rewrite),
            FilterType::RequestMirror => {
                let conf = filter.request_mirror.as_ref()?;
                Some(Self::Mirror(conf, mirror(conf)?))
            }
            FilterType::Unknown(_) => None,
        }
    }

    /// Edits a route. What makes no sense on the route's action (a mirror of a redirect) is left out.
    pub(super) fn apply(&self, route: &mut Route, twin: Twin) {
        match self {
            Self::RequestHeaders(modifier) => {
                route.request_headers_to_add.extend(added(modifier));
                route.request_headers_to_remove.extend(modifier.remove.iter().flatten().cloned());
            }
            Self::ResponseHeaders(modifier) => {
                route.response_headers_to_add.extend(added(modifier));
                route.response_headers_to_remove.extend(modifier.remove.iter().flatten().cloned());
            }
            Self::Redirect(redirect) => route.action = Some(Action::Redirect(redirect_action(redirect, twin))),
            Self::Rewrite(rewrite) => {
                if let Some(action) = route_action(route) {
                    apply_rewrite(action, rewrite, twin);
                }
            }
            Self::Mirror(mirror, cluster) => {
                if let (Some(action), Some(policy)) = (route_action(route), mirror_policy(mirror, cluster)) {
                    action.request_mirror_policies.push(policy);
                }
            }
        }
    }
}

fn route_action(route: &mut Route) -> Option<&mut RouteAction> {
    match &mut route.action {
        Some(Action::Route(action)) => Some(action),
        Some(_) | None => None,
    }
}

fn added(modifier: &HeaderModifier) -> impl Iterator<Item = HeaderValueOption> {
    let option = |header: &HeaderKeyValue, action: HeaderAppendAction| HeaderValueOption {
        header: Some(HeaderValue { key: header.name.clone(), value: header.value.clone(), ..Default::default() }),
        append_action: action.into(),
        ..Default::default()
    };
    let set = modifier.set.iter().flatten().map(move |h| option(h, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = modifier.add.iter().flatten().map(move |h| option(h, HeaderAppendAction::AppendIfExistsOrAdd));
    set.chain(add)
}

/// How a path changes.
enum PathChange {
    Prefix(String),
    Full(RegexMatchAndSubstitute),
}

/// A prefix is replaced by whole segments: what stands below `/v1` goes below `/v2`, however many
/// slashes the replacement ends with. A rewrite without its value has no effect.
fn path_change(rewrite: &PathRewrite, twin: Twin) -> Option<PathChange> {
    let full = |path: &str| {
        PathChange::Full(RegexMatchAndSubstitute {
            pattern: Some(RegexMatcher { regex: ".*".to_owned(), ..Default::default() }),
            substitution: path.to_owned(),
        })
    };
    match &rewrite.kind {
        PathRewriteType::ReplaceFullPath => rewrite.replace_full_path.as_deref().map(full),
        PathRewriteType::ReplacePrefixMatch => {
            let prefix = rewrite.replace_prefix_match.as_deref()?;
            match twin {
                Twin::Whole => Some(full(prefix)),
                Twin::Below => Some(PathChange::Prefix(format!("{}/", prefix.trim_end_matches('/')))),
                Twin::None => None,
            }
        }
        PathRewriteType::Unknown(_) => None,
    }
}

fn redirect_action(redirect: &RequestRedirect, twin: Twin) -> RedirectAction {
    let code = match redirect.status_code {
        Some(301) => RedirectResponseCode::MovedPermanently,
        Some(303) => RedirectResponseCode::SeeOther,
        Some(307) => RedirectResponseCode::TemporaryRedirect,
        Some(308) => RedirectResponseCode::PermanentRedirect,
        Some(_) | None => RedirectResponseCode::Found,
    };
    let path = redirect.path.as_ref().and_then(|path| path_change(path, twin)).map(|change| match change {
        PathChange::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix),
        PathChange::Full(regex) => PathRewriteSpecifier::RegexRewrite(regex),
    });
    RedirectAction {
        host_redirect: redirect.hostname.clone().unwrap_or_default(),
        port_redirect: redirect.port.and_then(|port| u32::try_from(port).ok()).unwrap_or_default(),
        scheme_rewrite_specifier: redirect.scheme.clone().map(SchemeRewriteSpecifier::SchemeRedirect),
        response_code: code.into(),
        path_rewrite_specifier: path,
        ..Default::default()
    }
}

fn apply_rewrite(action: &mut RouteAction, rewrite: &UrlRewrite, twin: Twin) {
    if let Some(hostname) = &rewrite.hostname {
        action.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteLiteral(hostname.clone()));
    }
    match rewrite.path.as_ref().and_then(|path| path_change(path, twin)) {
        Some(PathChange::Prefix(prefix)) => action.prefix_rewrite = prefix,
        Some(PathChange::Full(regex)) => action.regex_rewrite = Some(regex),
        None => {}
    }
}

/// A share that cannot be read mirrors nothing: a copy of everything could be more than the
/// destination bears.
fn mirror_policy(mirror: &RequestMirror, cluster: &str) -> Option<RequestMirrorPolicy> {
    let fraction = match &mirror.percentage {
        None => None,
        Some(percentage) => Some(percent_of(percentage.as_decimal()?)),
    };
    Some(RequestMirrorPolicy {
        cluster: cluster.to_owned(),
        runtime_fraction: fraction
            .map(|fraction| RuntimeFractionalPercent { default_value: Some(fraction), ..Default::default() }),
        ..Default::default()
    })
}

/// A percentage in the coarsest unit that holds its first four decimals.
fn percent_of(percent: f64) -> FractionalPercent {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1000000")]
    let millionths = (percent * 10_000.0).round().clamp(0.0, 1_000_000.0) as u32;
    fractional(millionths)
}

/// The share `part / whole` (`whole` > 0), rounded to millionths.
pub(super) fn share(part: u32, whole: u32) -> FractionalPercent {
    let (part, whole) = (u64::from(part), u64::from(whole.max(1)));
    let millionths = (part * 1_000_000 + whole / 2) / whole;
    fractional(u32::try_from(millionths).unwrap_or(1_000_000))
}

fn fractional(millionths: u32) -> FractionalPercent {
    let (numerator, denominator) = match millionths {
        m if m % 10_000 == 0 => (m / 10_000, DenominatorType::Hundred),
        m if m % 100 == 0 => (m / 100, DenominatorType::TenThousand),
        m => (m, DenominatorType::Million),
    };
    FractionalPercent { numerator, denominator: denominator.into() }
}
