//! All paths of the API and their handlers.

use http::Method;
use model::{Kind, Scope, registry};

use crate::errors::Problem;
use crate::resources::{by_kri, delete, list, put, read};
use crate::routes::Routes;
use crate::settings::Settings;
use crate::writable::{elsewhere, is_read_only};
use crate::{faults, insights, inspect, meta, propagation, replicas, tokens};

/// The table of routes on this control plane.
pub(crate) fn table(settings: &Settings) -> Routes {
    let mut routes = Routes::default();
    routes.get("/", meta::index);
    routes.get("/config", meta::config);
    routes.get("/versions", meta::versions);
    routes.get("/who-am-i", meta::who_am_i);
    routes.get("/policies", meta::policies);
    routes.get("/_resources", meta::resources);
    routes.get("/_kri/{kri}", by_kri::by_kri);
    routes.get("/global-insight", insights::global_insight);
    routes.get("/global-insights", insights::global_insights);
    routes.on(Method::POST, "/tokens/dataplane", tokens::dataplane);
    routes.on(Method::POST, "/tokens/zone", tokens::zone);
    routes.on(Method::POST, "/tokens/user", tokens::user);
    routes.get("/propagation", propagation::propagation);
    inspect::add(&mut routes);
    replicas::add(&mut routes);
    faults::add(&mut routes, meta::served());
    for kind in meta::served() {
        for path in [kind.path, kind.alt_path].into_iter().filter(|path| !path.is_empty()) {
            kind_routes(&mut routes, kind, path, settings);
        }
    }
    routes
}

/// The routes of a kind under one of its paths.
fn kind_routes(routes: &mut Routes, kind: Kind, path: &str, settings: &Settings) {
    let all = format!("/{path}");
    let collection = match kind.scope {
        Scope::Global => all.clone(),
        Scope::Mesh => format!("/meshes/{{mesh}}/{path}"),
    };
    // A mesh's own name is the parameter of its path; below it stands as `mesh`.
    let item = format!("{collection}/{{name}}");
    for list_path in unique(&all, &collection) {
        if kind == registry::SERVICE_INSIGHT {
            routes.get(list_path, list::service_insights);
        } else if kind == registry::MESH_INSIGHT {
            routes.get(list_path, insights::mesh_insights);
        } else {
            routes.get(list_path, move |call| list::list(call, kind));
        }
    }
    if kind == registry::MESH_INSIGHT {
        routes.get(&item, insights::mesh_insight);
    } else {
        routes.get(&item, move |call| read::read(call, kind));
    }
    if is_read_only(kind, settings) {
        let detail = elsewhere(&settings.site);
        for method in [Method::PUT, Method::DELETE] {
            routes.on(method, &item, move |_| async move { Err(Problem::read_only(detail)) });
        }
    } else {
        routes.on(Method::PUT, &item, move |call| put::put(call, kind));
        routes.on(Method::DELETE, &item, move |call| delete::delete(call, kind));
    }
    if !kind.overview.is_empty() {
        overview_routes(routes, kind, &all, &collection);
    }
}

fn overview_routes(routes: &mut Routes, kind: Kind, all: &str, collection: &str) {
    for list_path in unique(all, collection) {
        for overviews in [format!("{list_path}/_overview"), format!("{list_path}+insights")] {
            routes.get(&overviews, move |call| list::overviews(call, kind));
        }
    }
    for overview in [format!("{collection}/{{name}}/_overview"), format!("{collection}+insights/{{name}}")] {
        routes.get(&overview, move |call| read::overview(call, kind));
    }
}

fn unique<'a>(a: &'a str, b: &'a str) -> impl Iterator<Item = &'a str> {
    [Some(a), (a != b).then_some(b)].into_iter().flatten()
}
