//! SPIFFE IDs: their syntax, the templates by which a MeshIdentity makes them, and which
//! MeshIdentity a Dataplane belongs to.

use std::collections::BTreeMap;
use std::fmt;

use crate::go_template::{Data, GoTemplate, ParseError, RenderError};
use crate::meta::Labels;

/// Template of trust domains when the MeshIdentity has none.
pub const DEFAULT_TRUST_DOMAIN: &str = "{{ .Mesh }}.{{ .Zone }}.mesh.local";
/// Template of paths on Kubernetes.
pub const DEFAULT_PATH_KUBERNETES: &str = "/ns/{{ .Namespace }}/sa/{{ .ServiceAccount }}";
/// Template of paths elsewhere.
pub const DEFAULT_PATH_UNIVERSAL: &str = "/workload/{{ .Workload }}";

const ZONE_LABEL: &str = "kuma.io/zone";
const NAMESPACE_LABEL: &str = "k8s.kuma.io/namespace";
const SERVICE_ACCOUNT_LABEL: &str = "k8s.kuma.io/service-account";
const WORKLOAD_LABEL: &str = "kuma.io/workload";

/// A checked SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: String,
    trust_domain_len: usize,
}

/// What is wrong with a SPIFFE ID, in the words of the library that Kuma uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SpiffeIdError {
    #[error("cannot be empty")]
    Empty,
    #[error("scheme is missing or invalid")]
    Scheme,
    #[error("trust domain is missing")]
    NoTrustDomain,
    #[error("trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores")]
    TrustDomainChar,
    #[error("path segment characters are limited to letters, numbers, dots, dashes, and underscores")]
    PathChar,
    #[error("path cannot contain empty segments")]
    EmptySegment,
    #[error("path cannot contain dot segments")]
    DotSegment,
    #[error("path cannot have a trailing slash")]
    TrailingSlash,
}

const SCHEME: &str = "spiffe://";

impl SpiffeId {
    /// Checks and keeps an ID.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.is_empty() {
            return Err(SpiffeIdError::Empty);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (trust_domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if trust_domain.is_empty() {
            return Err(SpiffeIdError::NoTrustDomain);
        }
        if !trust_domain.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_')) {
            return Err(SpiffeIdError::TrustDomainChar);
        }
        check_path(path)?;
        Ok(Self { text: text.to_owned(), trust_domain_len: trust_domain.len() })
    }

    /// The whole ID.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its trust domain.
    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..SCHEME.len() + self.trust_domain_len]
    }

    /// Its path, with the leading slash; empty when it has none.
    pub fn path(&self) -> &str {
        &self.text[SCHEME.len() + self.trust_domain_len..]
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    let Some(path) = path.strip_prefix('/') else { return Ok(()) };
    let last = path.split('/').count() - 1;
    for (at, segment) in path.split('/').enumerate() {
        match segment {
            "" if at == last => return Err(SpiffeIdError::TrailingSlash),
            "" => return Err(SpiffeIdError::EmptySegment),
            "." | ".." => return Err(SpiffeIdError::DotSegment),
            _ if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) => {
                return Err(SpiffeIdError::PathChar);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Why no SPIFFE ID came out of the templates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeTemplateError {
    /// A template has no valid form.
    #[error("couldn't parse template: {0}")]
    Parse(#[from] ParseError),
    /// A template cannot be rendered for this resource.
    #[error("failed to render SPIFFE ID template: {0}")]
    Render(#[from] RenderError),
    /// The result is no SPIFFE ID.
    #[error("failed to parse SPIFFE ID \"{id}\": {why}")]
    Invalid {
        /// What was rendered.
        id: String,
        /// What is wrong with it.
        why: SpiffeIdError,
    },
}

/// The trust domain of a MeshIdentity: its template (`None`: the default) rendered for its mesh and
/// labels. Its zone is its label, or the local zone.
///
/// # Errors
/// When the template cannot be parsed or rendered.
pub fn trust_domain(
    template: Option<&str>,
    mesh: &str,
    labels: &Labels,
    local_zone: &str,
) -> Result<String, SpiffeTemplateError> {
    let zone = labels.get(ZONE_LABEL).map_or(local_zone, String::as_str);
    let fields = BTreeMap::from([("Mesh", mesh.to_owned()), ("Zone", zone.to_owned())]);
    let template = GoTemplate::parse(template.unwrap_or(DEFAULT_TRUST_DOMAIN))?;
    Ok(template.render(&Data { fields: &fields, label: &|key| labels.get(key).cloned() })?)
}

/// The SPIFFE ID of a Dataplane with these labels, by the path template of its MeshIdentity (pass
/// the environment's default when it has none).
///
/// # Errors
/// When the template cannot be parsed or rendered, or renders to something else than an ID.
pub fn spiffe_id(trust_domain: &str, path: &str, labels: &Labels) -> Result<SpiffeId, SpiffeTemplateError> {
    let label = |key: &str| labels.get(key).cloned();
    let field = |key: &str| label(key).unwrap_or_default();
    let fields = BTreeMap::from([
        ("TrustDomain", trust_domain.to_owned()),
        ("Namespace", field(NAMESPACE_LABEL)),
        ("ServiceAccount", field(SERVICE_ACCOUNT_LABEL)),
        ("Workload", field(WORKLOAD_LABEL)),
    ]);
    let template = GoTemplate::parse(&format!("spiffe://{{{{ .TrustDomain }}}}{path}"))?;
    let id = template.render(&Data { fields: &fields, label: &label })?;
    SpiffeId::parse(&id).map_err(|why| SpiffeTemplateError::Invalid { id, why })
}

/// Whether a path template derives the identity from the workload label.
pub fn derives_from_workload(path: &str) -> bool {
    path.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).any(|(action, _)| {
        let mut words = action.split_whitespace();
        let words = (words.next(), words.next(), words.next());
        matches!(
            words,
            (Some(".Workload" | "label\"kuma.io/workload\""), None, _)
                | (Some("label"), Some("\"kuma.io/workload\""), None)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn ids_are_checked_as_by_the_reference_library() {
        for (text, fault) in [
            ("spiffe://td", None),
            ("spiffe://td.x-y_z/a/B.c", None),
            ("", Some("cannot be empty")),
            ("http://td", Some("scheme is missing or invalid")),
            ("SPIFFE://td", Some("scheme is missing or invalid")),
            ("spiffe:///a", Some("trust domain is missing")),
            (
                "spiffe://TD/a",
                Some(
                    "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores",
                ),
            ),
            ("spiffe://td/", Some("path cannot have a trailing slash")),
            ("spiffe://td/a/", Some("path cannot have a trailing slash")),
            ("spiffe://td//a", Some("path cannot contain empty segments")),
            ("spiffe://td/../a", Some("path cannot contain dot segments")),
            (
                "spiffe://td/a%20",
                Some("path segment characters are limited to letters, numbers, dots, dashes, and underscores"),
            ),
        ] {
            let result = SpiffeId::parse(text).map_err(|e| e.to_string());
            assert_eq!(result.err().as_deref(), fault, "{text}");
        }
        let id = SpiffeId::parse("spiffe://td/a/b").unwrap();
        assert_eq!((id.trust_domain(), id.path()), ("td", "/a/b"));
    }

    #[test]
    fn templates_make_ids() {
        let domain = trust_domain(None, "default", &labels(&[]), "east").unwrap();
        assert_eq!(domain, "default.east.mesh.local");
        assert_eq!(trust_domain(None, "m", &labels(&[("kuma.io/zone", "west")]), "east").unwrap(), "m.west.mesh.local");
        let pod = labels(&[("k8s.kuma.io/namespace", "shop"), ("k8s.kuma.io/service-account", "cart"), ("app", "x")]);
        for (path, expected) in [
            (DEFAULT_PATH_KUBERNETES, Ok("spiffe://default.east.mesh.local/ns/shop/sa/cart")),
            ("", Ok("spiffe://default.east.mesh.local")),
            ("/{{ label \"app\" }}", Ok("spiffe://default.east.mesh.local/x")),
            ("/{{ label \"b\" }}", Err("failed to render SPIFFE ID template: label b not found")),
            (
                DEFAULT_PATH_UNIVERSAL,
                Err(
                    "failed to parse SPIFFE ID \"spiffe://default.east.mesh.local/workload/\": path cannot have a trailing slash",
                ),
            ),
        ] {
            let id = spiffe_id(&domain, path, &pod).map(|id| id.to_string()).map_err(|e| e.to_string());
            assert_eq!(id, expected.map(str::to_owned).map_err(str::to_owned), "{path}");
        }
    }

    #[test]
    fn the_use_of_the_workload_is_seen() {
        for (path, derives) in [
            (DEFAULT_PATH_UNIVERSAL, true),
            ("/{{.Workload}}", true),
            ("/{{  label   \"kuma.io/workload\" }}", true),
            (DEFAULT_PATH_KUBERNETES, false),
            ("/{{ label \"app\" }}", false),
        ] {
            assert_eq!(derives_from_workload(path), derives, "{path}");
        }
    }
}
