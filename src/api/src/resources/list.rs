//! Lists of resources and of overviews, in one mesh or across all.

use std::sync::Arc;

use model::{Key, Kind, Resource, document, registry};
use store::{Query, State};

use crate::call::Call;
use crate::errors::Problem;
use crate::filters::Filters;
use crate::paging;
use crate::routes::Answer;

/// Title of every failure of a list.
const TITLE: &str = "Could not retrieve resources";

/// `GET /meshes/{mesh}/things` and `GET /things`.
pub(crate) async fn list(call: Call, kind: Kind) -> Answer {
    page(&call, kind, |_, resource| document::render(resource)).await
}

/// The same with overviews: filters and pages are those of the base resources.
pub(crate) async fn overviews(call: Call, kind: Kind) -> Answer {
    page(&call, kind, |state, base| {
        document::render_overview(base, insight_of(state, base).map(|insight| &insight.spec))
    })
    .await
}

/// Insights of services are no longer made; clients still ask for the list.
pub(crate) async fn service_insights(call: Call) -> Answer {
    const TYPES: [&str; 3] = ["internal", "external", "gateway_delegated"];
    let types = call.query.get("type").unwrap_or_default();
    if types.split(',').any(|t| !t.is_empty() && !TYPES.contains(&t)) {
        return Err(Problem::bad_request("unsupported service type"));
    }
    list(call, registry::SERVICE_INSIGHT).await
}

/// The insight that belongs to a resource.
pub(crate) fn insight_of<'a>(state: &'a State, base: &Resource) -> Option<&'a Arc<Resource>> {
    let kind = registry::by_name(base.key.kind.insight)?;
    state.get(&Key::new(kind, &base.key.mesh, &base.key.name))
}

async fn page(call: &Call, kind: Kind, render: impl Fn(&State, &Resource) -> String) -> Answer {
    let size = paging::size(call, TITLE)?;
    let filters = Filters::parse(call, kind, TITLE)?;
    let state = call.state().await?;
    let mesh = match call.param("mesh") {
        "" => None,
        mesh => {
            call.mesh(&state)?;
            Some(mesh.to_owned())
        }
    };
    call.may_access(kind)?;
    let query = Query { kind, mesh, offset: paging::offset(call, TITLE)?, size };
    let page = state.list(&query, |resource| filters.admit(resource));
    let items: Vec<_> = page.items.iter().map(|resource| render(&state, resource)).collect();
    Ok(paging::answer(call, &items, page.total, page.next))
}
