//! Schema and rules of MeshHTTPRoute.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::{
    Filter, FilterType, HeaderModifier, MeshHttpRoute, PathMatchType, PathRewrite, PathRewriteType,
    QueryParamMatchType, RouteMatch, Rule,
};
use crate::kinds::headers::{self, HeaderMatchType};
use crate::kinds::registered::SpecType;
use crate::kinds::rules::{MUST_BE_DEFINED, MUST_NOT_BE_DEFINED, at_least_one};
use crate::kinds::target_ref;
use crate::names::{dns_1123_subdomain, is_ip};
use crate::schema::{self, Schema};
use crate::violation::Violations;

impl SpecType for MeshHttpRoute {
    fn schema() -> Option<&'static Schema> {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let conf = schema::object([
                ("filters", schema::array(filter_schema())),
                ("backendRefs", schema::array(target_ref::backend_schema())),
            ]);
            let rule = schema::object([("matches", schema::array(match_schema()).min_items(1)), ("default", conf)]);
            let to = schema::object([
                ("targetRef", target_ref::to_schema()),
                ("hostnames", schema::array(schema::string())),
                ("rules", schema::array(rule.required(&["default", "matches"]))),
            ]);
            schema::object([
                ("targetRef", target_ref::top_schema()),
                ("to", schema::array(to.required(&["rules", "targetRef"]))),
            ])
        });
        Some(&SCHEMA)
    }

    fn check(&self, faults: &mut Violations) {
        target_ref::check_top(faults, self.target_ref.as_ref(), false);
        for (i, to) in self.to.iter().enumerate() {
            faults.nest(&format!("spec.to[{i}].targetRef"), to.target_ref.faults(target_ref::DESTINATIONS, false));
            if !to.hostnames.is_empty() {
                faults.add(format!("spec.to[{i}].hostnames"), MUST_NOT_BE_DEFINED);
            }
            for (j, rule) in to.rules.iter().enumerate() {
                faults.nest(&format!("spec.to[{i}].rules[{j}]"), rule.faults());
            }
        }
    }
}

fn match_schema() -> Schema {
    const METHODS: &[&str] = &["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    let path = schema::object([("type", schema::choice(PathMatchType::TEXTS)), ("value", schema::string().min_len(1))]);
    let parameter = schema::object([
        ("type", schema::choice(QueryParamMatchType::TEXTS)),
        ("name", schema::string().min_len(1)),
        ("value", schema::string()),
    ]);
    schema::object([
        ("path", path.required(&["type", "value"])),
        ("method", schema::choice(METHODS)),
        ("queryParams", schema::array(parameter.required(&["name", "type", "value"]))),
        ("headers", schema::array(headers::match_schema())),
    ])
}

fn filter_schema() -> Schema {
    let hostname = || {
        schema::string()
            .min_len(1)
            .max_len(253)
            .pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    };
    let path = || {
        schema::object([
            ("type", schema::choice(PathRewriteType::TEXTS)),
            ("replaceFullPath", schema::string()),
            ("replacePrefixMatch", schema::string()),
        ])
        .required(&["type"])
    };
    let redirect = schema::object([
        ("scheme", schema::choice(&["http", "https"])),
        ("hostname", hostname()),
        ("port", schema::int32().at_least(1).at_most(65535)),
        ("path", path()),
        ("statusCode", schema::integer().one_of(&[301, 302, 303, 307, 308]).default_to(302)),
    ]);
    let rewrite =
        schema::object([("hostname", hostname()), ("path", path()), ("hostToBackendHostname", schema::boolean())]);
    let mirror =
        schema::object([("percentage", schema::int_or_string()), ("backendRef", target_ref::backend_schema())]);
    schema::object([
        ("type", schema::choice(FilterType::TEXTS)),
        ("requestHeaderModifier", headers::modifier_schema()),
        ("responseHeaderModifier", headers::modifier_schema()),
        ("requestRedirect", redirect),
        ("urlRewrite", rewrite),
        ("requestMirror", mirror.required(&["backendRef"])),
    ])
    .required(&["type"])
}

impl Rule {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        for (k, one) in self.matches.iter().enumerate() {
            faults.nest(&format!("matches[{k}]"), one.faults());
        }
        let all_prefixes =
            self.matches.iter().all(|one| one.path.as_ref().is_some_and(|path| path.kind == PathMatchType::PathPrefix));
        for (f, filter) in self.default.filters.iter().flatten().enumerate() {
            faults.nest(&format!("default.filters[{f}]"), filter.faults(all_prefixes));
        }
        for (b, backend) in self.default.backend_refs.iter().flatten().enumerate() {
            faults.nest(&format!("default.backendRefs[{b}]"), backend.faults());
        }
        faults
    }
}

impl RouteMatch {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        if let Some(path) = &self.path {
            if path.kind == PathMatchType::PathPrefix && path.value != "/" && path.value.ends_with('/') {
                faults.add(
                    "path.value",
                    "does not need a trailing slash because only a `/`-separated prefix or an entire path is matched",
                );
            }
            let is_literal = matches!(path.kind, PathMatchType::PathPrefix | PathMatchType::Exact);
            if is_literal && !path.value.starts_with('/') {
                faults.add("path.value", "must be an absolute path");
            }
        }
        let mut names = BTreeSet::new();
        for (q, parameter) in self.query_params.iter().flatten().enumerate() {
            if !names.insert(&parameter.name) {
                faults.add(format!("queryParams[{q}].name"), format!("multiple entries for name {}", parameter.name));
            }
        }
        for (h, header) in self.headers.iter().flatten().enumerate() {
            let is_presence = matches!(header.match_type(), HeaderMatchType::Present | HeaderMatchType::Absent);
            if is_presence && !header.value.is_empty() {
                faults.add(format!("headers[{h}].value"), MUST_NOT_BE_DEFINED);
            }
        }
        faults
    }
}

impl Filter {
    fn faults(&self, all_prefixes: bool) -> Violations {
        let mut faults = Violations::new();
        match &self.kind {
            FilterType::RequestHeaderModifier => {
                nest(
                    &mut faults,
                    "requestHeaderModifier",
                    self.request_header_modifier.as_ref(),
                    HeaderModifier::faults,
                );
            }
            FilterType::ResponseHeaderModifier => {
                let modifier = self.response_header_modifier.as_ref();
                nest(&mut faults, "responseHeaderModifier", modifier, HeaderModifier::faults);
            }
            FilterType::RequestRedirect => {
                nest(&mut faults, "requestRedirect", self.request_redirect.as_ref(), |redirect| {
                    rewrite_faults(redirect.path.as_ref(), redirect.hostname.as_deref(), all_prefixes)
                })
            }
            FilterType::UrlRewrite => nest(&mut faults, "urlRewrite", self.url_rewrite.as_ref(), |rewrite| {
                let mut faults = rewrite_faults(rewrite.path.as_ref(), rewrite.hostname.as_deref(), all_prefixes);
                if rewrite.host_to_backend_hostname {
                    faults.add("hostToBackendHostname", "must not be set");
                    if rewrite.hostname.is_some() {
                        faults.add("hostToBackendHostname", "cannot be set together with hostname");
                    }
                }
                faults
            }),
            FilterType::RequestMirror => nest(&mut faults, "requestMirror", self.request_mirror.as_ref(), |mirror| {
                let mut faults = Violations::new();
                faults.nest("backendRef", mirror.backend_ref.faults());
                faults
            }),
            FilterType::Unknown(_) => faults.add("type", "unrecognized type"),
        }
        faults
    }
}

/// Nests the faults of the branch that counts, which must be there.
fn nest<T>(faults: &mut Violations, path: &str, branch: Option<&T>, inner: impl Fn(&T) -> Violations) {
    match branch {
        None => faults.add(path, MUST_BE_DEFINED),
        Some(branch) => faults.nest(path, inner(branch)),
    }
}

fn rewrite_faults(path: Option<&PathRewrite>, hostname: Option<&str>, all_prefixes: bool) -> Violations {
    let mut faults = Violations::new();
    if path.is_some_and(|path| path.replace_prefix_match.is_some()) && !all_prefixes {
        faults.add("path.replacePrefixMatch", "can only appear if all matches match a path prefix");
    }
    match hostname {
        Some(hostname) if is_ip(hostname) => faults.add("hostname", "cannot be an IP address"),
        Some(hostname) => dns_1123_subdomain(hostname).into_iter().for_each(|message| faults.add("hostname", message)),
        None => {}
    }
    faults
}

impl HeaderModifier {
    fn faults(&self) -> Violations {
        let mut faults = Violations::new();
        let Self { set, add, remove } = self;
        if set.is_none() && add.is_none() && remove.is_none() {
            faults.add("", at_least_one(&["set", "add", "remove"]));
        }
        let mut names = BTreeSet::new();
        let set = set.iter().flatten().enumerate().map(|(n, header)| (format!("set[{n}].name"), &header.name));
        let add = add.iter().flatten().enumerate().map(|(n, header)| (format!("add[{n}].name"), &header.name));
        let remove = remove.iter().flatten().enumerate().map(|(n, name)| (format!("remove[{n}].name"), name));
        for (path, name) in set.chain(add).chain(remove) {
            if !names.insert(name.to_ascii_lowercase()) {
                faults.add(path, "duplicate header name");
            }
        }
        faults
    }
}
