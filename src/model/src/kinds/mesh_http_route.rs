//! MeshHTTPRoute: where requests to a destination go, and how they are changed on the way.

use serde::{Deserialize, Serialize};

pub use super::headers::{HeaderKeyValue, HeaderMatch, HeaderMatchType};
use super::int_or_string::IntOrString;
use super::registered::plain;
use super::target_ref::{BackendRef, TargetRef};
use super::text_enum::text_enum;
use crate::codec::Codec;

mod rules;

/// Spec of a MeshHTTPRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshHttpRoute {
    /// The dataplanes that it is for; absent means all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Routes by destination.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<To>,
}

/// Routes of a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct To {
    /// The destination.
    pub target_ref: TargetRef,
    /// Not supported; must be empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// A rule: requests and what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// The requests: one of these must hold.
    pub matches: Vec<RouteMatch>,
    /// What becomes of them.
    pub default: RuleConf,
}

/// A match of requests: all of its parts must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteMatch {
    /// The path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
    /// The method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Query parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_params: Option<Vec<QueryParamMatch>>,
    /// Headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<HeaderMatch>>,
}

text_enum! {
    /// How a path is compared.
    pub enum PathMatchType {
        /// Equal.
        Exact = "Exact",
        /// Starts with, by whole segments.
        PathPrefix = "PathPrefix",
        /// Matches an expression.
        RegularExpression = "RegularExpression",
    }
}

/// A match of the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathMatch {
    /// The path, its beginning or an expression.
    pub value: String,
    /// How it is compared.
    #[serde(rename = "type")]
    pub kind: PathMatchType,
}

text_enum! {
    /// How a query parameter is compared.
    pub enum QueryParamMatchType {
        /// Equal.
        Exact = "Exact",
        /// Matches an expression.
        RegularExpression = "RegularExpression",
    }
}

/// A match of a query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryParamMatch {
    /// How it is compared.
    #[serde(rename = "type")]
    pub kind: QueryParamMatchType,
    /// Its name.
    pub name: String,
    /// Its value or an expression.
    pub value: String,
}

/// What becomes of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleConf {
    /// Changes on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<Filter>>,
    /// The destinations with their shares; absent means the original one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_refs: Option<Vec<BackendRef>>,
}

text_enum! {
    /// Types of filters.
    pub enum FilterType {
        /// Changes headers of requests.
        RequestHeaderModifier = "RequestHeaderModifier",
        /// Changes headers of responses.
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// Answers with a redirection.
        RequestRedirect = "RequestRedirect",
        /// Changes the host or the path.
        UrlRewrite = "URLRewrite",
        /// Sends a copy elsewhere.
        RequestMirror = "RequestMirror",
    }
}

/// A change on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Which branch counts.
    #[serde(rename = "type")]
    pub kind: FilterType,
    /// For `RequestHeaderModifier`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderModifier>,
    /// For `ResponseHeaderModifier`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderModifier>,
    /// For `RequestRedirect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<RequestRedirect>,
    /// For `URLRewrite`.
    #[serde(default, rename = "urlRewrite", skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<UrlRewrite>,
    /// For `RequestMirror`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<RequestMirror>,
}

/// Changes of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeaderModifier {
    /// Headers that replace what is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<Vec<HeaderKeyValue>>,
    /// Headers beside what is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add: Option<Vec<HeaderKeyValue>>,
    /// Names of headers to remove.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remove: Option<Vec<String>>,
}

/// A redirection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestRedirect {
    /// `http` or `https`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// The host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
    /// The port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// The status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<i32>,
}

/// A change of the host or the path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UrlRewrite {
    /// The host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
    /// Not supported; must not be true.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub host_to_backend_hostname: bool,
}

text_enum! {
    /// How a path is changed.
    pub enum PathRewriteType {
        /// As a whole.
        ReplaceFullPath = "ReplaceFullPath",
        /// The prefix that matched.
        ReplacePrefixMatch = "ReplacePrefixMatch",
    }
}

/// A change of the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathRewrite {
    /// Which branch counts.
    #[serde(rename = "type")]
    pub kind: PathRewriteType,
    /// For `ReplaceFullPath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_full_path: Option<String>,
    /// For `ReplacePrefixMatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_prefix_match: Option<String>,
}

/// A copy that is sent elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestMirror {
    /// The share of requests in percent: a number or a decimal; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentage: Option<IntOrString>,
    /// Where it goes.
    pub backend_ref: BackendRef,
}

pub(crate) const CODEC: Codec = plain::<MeshHttpRoute>();
