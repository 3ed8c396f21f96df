//! Loggers of single routes. Envoy has none: a small script notes which route a request takes, and
//! loggers filter by that.

use std::collections::BTreeMap;

use model::{Kri, registry};
use policy::ResourceRules;

use super::super::{Faults, ProxyTraits};
use super::conf::Conf;
use super::filter::{ROUTE_KEY, of_other_routes, of_route};
use super::format::Operators;
use super::logger::Loggers;
use crate::envoy::core::{DataSource, data_source::Specifier};
use crate::envoy::hcm::HttpConnectionManager;
use crate::envoy::http::lua::v3::Lua;
use crate::envoy::{pack, string_struct};
use crate::resource_set::{ClusterResource, add_http_filter_first, routes_mut};

const LUA: &str = "envoy.filters.http.lua";
const SCRIPT: &str = "function envoy_on_request(handle)
  local meta = handle:metadata():get(\"route_kri\")
  if meta ~= nil then
    handle:streamInfo():dynamicMetadata():set(\"kuma.routes\", \"route_kri\", meta)
  end
end
";

/// Adds the loggers of all routes, then those of routes that policies name.
pub(super) fn log(
    hcm: &mut HttpConnectionManager,
    shared: &Loggers,
    rules: &ResourceRules,
    operators: &Operators,
    proxy: &ProxyTraits<'_>,
    faults: &mut Faults,
) -> Vec<ClusterResource> {
    hcm.access_log.extend(shared.filtered(Some(&of_other_routes())));
    let mut own: BTreeMap<String, Loggers> = BTreeMap::new();
    for route in routes_mut(hcm) {
        let Ok(kri) = route.name.parse::<Kri>() else { continue };
        if kri.kind != registry::MESH_HTTP_ROUTE {
            continue;
        }
        let rule = rules.get(&kri).or_else(|| rules.get(&kri.with_section("")));
        let Some(conf) = faults.to::<Conf>(rule) else { continue };
        // Kuma reads the section without its underscores, and writes it so.
        let text = kri.with_section(&kri.section.replace('_', "")).to_string();
        let note = string_struct([(ROUTE_KEY, text.as_str())]);
        route.metadata.get_or_insert_default().filter_metadata.insert(LUA.to_owned(), note);
        own.entry(text).or_insert_with(|| Loggers::of(&conf, operators, proxy));
    }
    if own.is_empty() {
        return Vec::new();
    }
    // Also where no route has a backend: without the note the loggers of all would write these too.
    let source = DataSource { specifier: Some(Specifier::InlineString(SCRIPT.to_owned())), ..Default::default() };
    let lua = Lua { default_source_code: Some(source), ..Default::default() };
    add_http_filter_first(hcm, LUA, pack(&lua));
    let mut clusters = Vec::new();
    for (kri, loggers) in own {
        hcm.access_log.extend(loggers.filtered(Some(&of_route(&kri))));
        clusters.extend(loggers.clusters);
    }
    clusters
}
