//! Which foreign pages may read answers (`apiServer.corsAllowedDomains`).

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};
use regex::Regex;

/// Headers that a foreign page may send.
const REQUEST_HEADERS: &str = "authorization, content-type";

/// The allowed origins.
#[derive(Debug, Default)]
pub(crate) struct Cors {
    literal: Vec<String>,
    patterns: Vec<Regex>,
}

impl Cors {
    /// Each entry is an origin or a regular expression for whole origins. One that is no
    /// expression allows nobody.
    pub(crate) fn new(domains: &[String]) -> Self {
        // A dot alone makes no expression: `http://kuma.io` must not admit `http://kumaXio`.
        let (patterns, literal): (Vec<_>, Vec<_>) =
            domains.iter().partition(|domain| domain.contains(['*', '+', '?', '(', '[', '{', '|', '^', '$', '\\']));
        let mut cors = Self { literal: literal.into_iter().cloned().collect(), patterns: Vec::new() };
        for domain in patterns {
            match Regex::new(&format!("(?i)^(?:{domain})$")) {
                Ok(expression) => cors.patterns.push(expression),
                Err(error) => tracing::warn!(domain, %error, "corsAllowedDomains: entry is ignored"),
            }
        }
        cors
    }

    fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.patterns.is_empty()
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        origin.to_str().is_ok_and(|origin| {
            self.literal.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
                || self.patterns.iter().any(|allowed| allowed.is_match(origin))
        })
    }

    /// Lets the origin read the answer when it is allowed.
    pub(crate) fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if self.is_empty() {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin.filter(|origin| self.allows(origin)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(
                header::ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static("Access-Control-Allow-Origin, Kuma-Revision"),
            );
        }
    }

    /// The answer to a preflight request; `None` when this is none or nobody is allowed.
    pub(crate) fn preflight(&self, request: &HeaderMap, methods: &[&str]) -> Option<Response> {
        let asked = request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let origin = request.get(header::ORIGIN).filter(|_| asked && !self.is_empty())?;
        let mut response = Response::new(Body::empty());
        self.mark(Some(origin), response.headers_mut());
        if self.allows(origin)
            && let Ok(methods) = HeaderValue::from_str(&methods.join(", "))
        {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            let headers = HeaderValue::from_static(REQUEST_HEADERS);
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers);
        }
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_are_allowed() {
        let cors = Cors::new(&["https://gui.example".to_owned(), r"https://[a-z]+\.corp".to_owned()]);
        for (origin, allowed) in [
            ("https://GUI.example", true),
            ("https://guiXexample", false),
            ("https://a.corp", true),
            ("https://a.corp.evil", false),
            ("null", false),
        ] {
            assert_eq!(cors.allows(&HeaderValue::from_static(origin)), allowed, "{origin}");
        }
    }

    #[test]
    fn without_a_list_nobody_is_told_anything() {
        let mut headers = HeaderMap::new();
        Cors::default().mark(Some(&HeaderValue::from_static("https://a")), &mut headers);
        assert!(headers.is_empty());
    }
}
