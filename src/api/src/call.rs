//! One request on its way to a handler, and the query parameters that many handlers read.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use identity::User;
use model::{Key, Resource, registry};
use percent_encoding::percent_decode_str;
use store::Snapshot;

use crate::errors::Problem;
use crate::settings::{ApiState, Settings};

/// How a request came in. Listeners put it into the request's extensions; a request without it is
/// taken for a remote, unencrypted one.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The other end of the TCP connection.
    pub peer: SocketAddr,
    /// Whether it is encrypted.
    pub tls: bool,
}

/// A request that found its route.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) api: Arc<ApiState>,
    pub(crate) user: User,
    /// Path of the route with its parameters in braces.
    pub(crate) template: Arc<str>,
    /// Values of the parameters of the path, decoded.
    pub(crate) params: Vec<(Arc<str>, String)>,
    /// The path as it was asked for.
    pub(crate) path: String,
    pub(crate) query: Query,
    /// `scheme://host` under which the client sees this server.
    pub(crate) origin: String,
    pub(crate) body: Bytes,
    /// The header `If-Match`, as it came.
    pub(crate) if_match: Option<HeaderValue>,
}

impl Call {
    /// A parameter of the path; empty when the route has none of that name.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(n, _)| &**n == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.api.settings
    }

    /// The newest state that this replica has applied, or, with `consistent=true`, one that holds
    /// every acknowledged write.
    pub(crate) async fn state(&self) -> Result<Snapshot, Problem> {
        if self.query.get("consistent") == Some("true") {
            return self.api.store.consistent().await.map_err(|e| Problem::from_read(&e));
        }
        Ok(self.api.store.snapshot())
    }

    /// The revision that the resource must still have: `If-Match` with what `kuma-revision` told.
    pub(crate) fn expected_revision(&self) -> Result<Option<u64>, Problem> {
        let Some(header) = &self.if_match else { return Ok(None) };
        let text = header.to_str().unwrap_or_default().trim();
        let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let parsed = number.parse().map(Some);
        parsed.map_err(|_| Problem::bad_request("If-Match: expected the revision of the resource, as \"42\""))
    }

    /// The mesh of the path.
    pub(crate) fn mesh(&self, state: &store::State) -> Result<Arc<Resource>, Problem> {
        let key = Key::global(registry::MESH, self.param("mesh"));
        state.get(&key).cloned().ok_or_else(|| Problem::not_found("Failed to retrieve Mesh"))
    }
}

/// The query parameters of a request, decoded, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: Option<&str>) -> Self {
        let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect(),
        )
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value)
    }

    /// All parameters.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The query text with `name` set to `value`, sorted by key.
    pub(crate) fn with(&self, name: &str, value: &str) -> String {
        let mut pairs: Vec<_> = self.iter().filter(|(key, _)| *key != name).collect();
        pairs.push((name, value));
        pairs.sort_by_key(|(key, _)| *key);
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        pairs.join("&")
    }
}

/// Percent-encodes a query key or value: all but letters, digits and `-._~`.
fn encode(text: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, KEPT).to_string().replace("%20", "+")
}

/// A boolean as Go's `strconv.ParseBool` reads it.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_query_is_sorted_and_encoded() {
        let query = Query::parse(Some("size=2&filter%5Blabels.a%2Fb%5D=x%20y&offset=1"));
        assert_eq!(query.get("filter[labels.a/b]"), Some("x y"));
        assert_eq!(query.with("offset", "3"), "filter%5Blabels.a%2Fb%5D=x+y&offset=3&size=2");
    }
}
