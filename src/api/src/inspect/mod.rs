//! What the API tells of proxies, policies and services beyond what is stored.

mod config;
mod hostnames;
mod layout;
mod picture;
mod policies;
mod proxies;
mod rules;
mod shown;

use model::{Kind, registry};

use crate::routes::Routes;
use crate::{envoy_admin, meta};

/// Adds the paths of inspection.
pub(crate) fn add(routes: &mut Routes) {
    const DATAPLANE: &str = "/meshes/{mesh}/dataplanes/{name}";
    let of_dataplane = |rest: &str| format!("{DATAPLANE}/{rest}");
    routes.get(&of_dataplane("_rules"), rules::rules);
    routes.get(&of_dataplane("_policies"), policies::of_proxy);
    routes.get(&of_dataplane("_inbounds/{inbound}/_policies"), policies::of_inbound);
    routes.get(&of_dataplane("_outbounds/{outbound}/_policies"), policies::of_outbound);
    routes.get(&of_dataplane("_outbounds/{outbound}/_routes"), policies::routes);
    routes.get(&of_dataplane("_outbounds/{outbound}/_routes/{route}/_policies"), policies::of_route);
    routes.get(&of_dataplane("_layout"), layout::layout);
    routes.get(&of_dataplane("_config"), config::config);
    routes.get(&of_dataplane("policies"), proxies::policies_of);
    routes.get(&of_dataplane("{type}"), envoy_admin::ask);
    routes.get("/meshes/{mesh}/{service_kind}/{name}/_hostnames", hostnames::hostnames);
    routes.get("/meshes/{mesh}/meshservices/{name}/_dataplanes", proxies::of_service);
    for kind in meta::served().filter(|kind| kind.is_policy) {
        let of_policy = |rest: &str| format!("/meshes/{{mesh}}/{}/{{name}}/{rest}", kind.path);
        // The second is what Kuma's command line asks for.
        for path in ["_resources/dataplanes", "-resources/dataplanes"] {
            routes.get(&of_policy(path), move |call| proxies::of_policy(call, kind));
        }
        routes.get(&of_policy("dataplanes"), move |call| proxies::attached_to(call, kind));
    }
}

/// The kinds of policies in the order in which they edit a proxy's configuration.
fn policy_kinds() -> impl Iterator<Item = Kind> {
    let mut kinds: Vec<_> = registry::KINDS.iter().copied().filter(|kind| kind.is_policy).collect();
    kinds.sort_by_key(|kind| kind.order);
    kinds.into_iter()
}
