//! One resource, or one overview.

use std::sync::Arc;

use axum::response::Response;
use model::{Key, Kind, Resource, document};
use store::{Revision, State};

use super::list::insight_of;
use super::put::with_revision;
use crate::call::Call;
use crate::errors::Problem;
use crate::json;
use crate::routes::Answer;

/// Title of every failure of a read.
pub(crate) const TITLE: &str = "Could not retrieve a resource";

/// `GET /meshes/{mesh}/things/{name}` and `GET /things/{name}`.
pub(crate) async fn read(call: Call, kind: Kind) -> Answer {
    let state = call.state().await?;
    let resource = find(&call, &state, kind)?;
    let response = answer(&call, &resource, TITLE, call.query.get("namespace"))?;
    Ok(with_revision(response, Revision(resource.meta.version)))
}

/// The overview of one resource.
pub(crate) async fn overview(call: Call, kind: Kind) -> Answer {
    let state = call.state().await?;
    let base = find(&call, &state, kind)?;
    Ok(json::document(&document::render_overview(&base, insight_of(&state, &base).map(|insight| &insight.spec))))
}

/// The resource of the path, after the checks that every read makes.
pub(crate) fn find(call: &Call, state: &State, kind: Kind) -> Result<Arc<Resource>, Problem> {
    if !call.param("mesh").is_empty() {
        call.mesh(state)?;
    }
    call.may_access(kind)?;
    let key = Key::new(kind, call.param("mesh"), call.param("name"));
    state.get(&key).cloned().ok_or_else(|| Problem::not_found(TITLE))
}

/// The resource in the form that `format` asks for.
pub(crate) fn answer(
    call: &Call,
    resource: &Resource,
    title: &str,
    namespace: Option<&str>,
) -> Result<Response, Problem> {
    match call.query.get("format").unwrap_or_default() {
        "" | "universal" => Ok(json::document(&document::render(resource))),
        "k8s" | "kubernetes" => {
            let namespace = namespace.filter(|n| !n.is_empty()).unwrap_or(&call.settings().system_namespace);
            Ok(json::response(&document::render_kubernetes(resource, namespace)))
        }
        _ => Err(Problem::invalid_field(title, "", r#""format" must be one of ["k8s", "kubernetes", "universal"]"#)),
    }
}
