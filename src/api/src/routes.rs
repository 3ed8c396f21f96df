//! The table of routes.
//!
//! Kuma's clients rely on details of routing that follow from its own router: a trailing slash
//! does not count, the path with most fixed segments wins, `HEAD` is no `GET`, and what is refused
//! before a handler is plain text. A table of our own is shorter than bending another one to that.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::response::Response;
use http::Method;

use crate::call::Call;
use crate::errors::{Problem, Refusal};

/// What a handler makes of a call.
pub(crate) type Answer = Result<Response, Problem>;
/// A handler.
pub(crate) type Handler = Arc<dyn Fn(Call) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Fixed(String),
    Parameter(Arc<str>),
}

struct Route {
    template: Arc<str>,
    segments: Vec<Segment>,
    fixed: usize,
    handlers: Vec<(Method, Handler)>,
}

/// A route that was found.
pub(crate) struct Found<'a> {
    pub(crate) template: Arc<str>,
    pub(crate) params: Vec<(Arc<str>, String)>,
    pub(crate) handler: &'a Handler,
}

/// All routes, by number of segments.
#[derive(Default)]
pub(crate) struct Routes {
    by_length: BTreeMap<usize, Vec<Route>>,
}

impl Routes {
    /// Adds a handler for a method of a path such as `/meshes/{mesh}`.
    pub(crate) fn on<F, Fut>(&mut self, method: Method, template: &str, handler: F)
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |call| Box::pin(handler(call)));
        let segments: Vec<_> = split(template).map(segment).collect();
        let routes = self.by_length.entry(segments.len()).or_default();
        if let Some(route) = routes.iter_mut().find(|route| *route.template == *template) {
            route.handlers.push((method, handler));
            return;
        }
        let fixed = segments.iter().filter(|s| matches!(s, Segment::Fixed(_))).count();
        routes.push(Route { template: template.into(), segments, fixed, handlers: vec![(method, handler)] });
    }

    /// Adds a `GET`.
    pub(crate) fn get<F, Fut>(&mut self, template: &str, handler: F)
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        self.on(Method::GET, template, handler);
    }

    /// The handler of a path; its segments still percent-encoded.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<Found<'_>, Refusal> {
        let route = self.route(path).ok_or(Refusal::NotFound)?;
        let Some((_, handler)) = route.handlers.iter().find(|(m, _)| m == method) else {
            return Err(Refusal::MethodNotAllowed(self.methods(path)));
        };
        let params = route.segments.iter().zip(split(path)).filter_map(|(segment, text)| match segment {
            Segment::Fixed(_) => None,
            Segment::Parameter(name) => Some((Arc::clone(name), decode(text))),
        });
        Ok(Found { template: Arc::clone(&route.template), params: params.collect(), handler })
    }

    /// The methods of a path; empty when it is unknown.
    pub(crate) fn methods(&self, path: &str) -> Vec<&'static str> {
        let known = [Method::GET, Method::PUT, Method::POST, Method::DELETE];
        let handlers = self.route(path).map(|route| &*route.handlers).unwrap_or_default();
        let names = ["GET", "PUT", "POST", "DELETE"];
        known.iter().zip(names).filter(|(k, _)| handlers.iter().any(|(m, _)| m == *k)).map(|(_, name)| name).collect()
    }

    fn route(&self, path: &str) -> Option<&Route> {
        let parts: Vec<_> = split(path).collect();
        let candidates = self.by_length.get(&parts.len())?;
        candidates.iter().filter(|route| route.matches(&parts)).max_by_key(|route| route.fixed)
    }
}

impl Route {
    fn matches(&self, parts: &[&str]) -> bool {
        self.segments.iter().zip(parts).all(|(segment, part)| match segment {
            Segment::Fixed(text) => text == part,
            Segment::Parameter(_) => true,
        })
    }
}

/// The segments of a path; empty ones do not count.
fn split(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

fn segment(text: &str) -> Segment {
    match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
        Some(name) => Segment::Parameter(name.into()),
        None => Segment::Fixed(text.to_owned()),
    }
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Routes {
        let mut routes = Routes::default();
        let nothing = |_| async { Err(Problem::not_found("x")) };
        routes.get("/meshes/{mesh}/dataplanes/{name}", nothing);
        routes.on(Method::PUT, "/meshes/{mesh}/dataplanes/{name}", nothing);
        routes.get("/meshes/{mesh}/dataplanes/_overview", nothing);
        routes.get("/meshes", nothing);
        routes
    }

    #[test]
    fn fixed_segments_win_and_a_trailing_slash_does_not_count() {
        let routes = table();
        let template = |path| routes.find(&Method::GET, path).map(|f| f.template.to_string());
        assert_eq!(template("/meshes/m/dataplanes/_overview").unwrap(), "/meshes/{mesh}/dataplanes/_overview");
        assert_eq!(template("/meshes/m/dataplanes/dp").unwrap(), "/meshes/{mesh}/dataplanes/{name}");
        assert_eq!(template("/meshes/").unwrap(), "/meshes");
        assert_eq!(template("/nothing").err(), Some(Refusal::NotFound));
    }

    #[test]
    fn head_is_refused_with_the_methods_of_the_path() {
        let refusal = table().find(&Method::HEAD, "/meshes/m/dataplanes/dp").err();
        assert_eq!(refusal, Some(Refusal::MethodNotAllowed(vec!["GET", "PUT"])));
    }

    #[test]
    fn parameters_are_decoded() {
        let routes = table();
        let found = routes.find(&Method::GET, "/meshes/a%20b/dataplanes/c").unwrap();
        let values: Vec<_> = found.params.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["a b", "c"]);
    }
}
