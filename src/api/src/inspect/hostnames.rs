//! `_hostnames`: under which names a service is reached, and where.

use std::collections::{BTreeMap, BTreeSet};

use model::go_template::{Data, GoTemplate};
use model::kinds::hostname_generator::HostnameGenerator;
use model::kinds::selector::LabelSelector;
use model::kri::display_name;
use model::labels::{NAMESPACE, ORIGIN, Site, ZONE};
use model::{Key, Kind, Labels, Resource, registry};
use serde_json::{Value, json};

use crate::call::Call;
use crate::errors::Problem;
use crate::json;
use crate::routes::Answer;

/// `GET /meshes/{mesh}/{kind}/{name}/_hostnames`.
pub(crate) async fn hostnames(call: Call) -> Answer {
    let kind = service_kind(call.param("service_kind"))?;
    let state = call.state().await?;
    let key = Key::new(kind, call.param("mesh"), call.param("name"));
    let service = state.get(&key).ok_or_else(|| Problem::not_found("could not retrieve service"))?;
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for labels in seen_as(service, &call.settings().site) {
        for generator in generators(&state) {
            let selects = selector(generator, kind).is_some_and(|selector| selector.matches(&labels));
            if let Some(hostname) = selects.then(|| render(&generator.template, service, &labels)).flatten() {
                found.entry(hostname).or_default().insert(zone_of(service));
            }
        }
    }
    let items: Vec<_> = found
        .iter()
        .map(|(hostname, zones)| {
            let zones: Vec<_> = zones.iter().map(|zone| json!({ "name": zone })).collect();
            json!({ "hostname": hostname, "zones": zones })
        })
        .collect();
    let total = items.len();
    // Without any, Kuma answers null.
    let items = if items.is_empty() { Value::Null } else { Value::Array(items) };
    Ok(json::response(&json!({ "items": items, "total": total })))
}

fn generators(state: &store::State) -> impl Iterator<Item = &HostnameGenerator> {
    state.of_kind(registry::HOSTNAME_GENERATOR).filter_map(|generator| generator.spec::<HostnameGenerator>())
}

fn service_kind(path: &str) -> Result<Kind, Problem> {
    let kinds = [registry::MESH_SERVICE, registry::MESH_EXTERNAL_SERVICE, registry::MESH_MULTI_ZONE_SERVICE];
    kinds.into_iter().find(|kind| kind.path == path).ok_or_else(|| {
        let paths = kinds.map(|kind| kind.path).join(",");
        let title = format!("only \"{paths}\" are available for inspection");
        Problem::invalid(&title, model::Violations::new())
    })
}

/// The labels under which generators see the service. The global control plane sees it as its own
/// zone does, and as the other zones do that have a copy.
fn seen_as(service: &Resource, site: &Site) -> Vec<Labels> {
    let labels = &service.meta.labels;
    match site {
        Site::Zone { .. } => vec![labels.clone()],
        Site::Global => ["zone", "global"]
            .into_iter()
            .map(|origin| {
                let mut labels = labels.clone();
                labels.insert(ORIGIN.to_owned(), origin.to_owned());
                labels
            })
            .collect(),
    }
}

fn selector(generator: &HostnameGenerator, kind: Kind) -> Option<&LabelSelector> {
    let selector = &generator.selector;
    if kind == registry::MESH_SERVICE {
        selector.mesh_service.as_ref()
    } else if kind == registry::MESH_EXTERNAL_SERVICE {
        selector.mesh_external_service.as_ref()
    } else {
        selector.mesh_multi_zone_service.as_ref()
    }
}

fn render(template: &str, service: &Resource, labels: &Labels) -> Option<String> {
    let label = |key: &str| labels.get(key).cloned();
    let fields = BTreeMap::from([
        ("Name", service.key.name.to_string()),
        ("DisplayName", display_name(service).to_owned()),
        ("Namespace", label(NAMESPACE).unwrap_or_default()),
        ("Mesh", service.key.mesh.to_string()),
        ("Zone", zone_of(service)),
    ]);
    let template = GoTemplate::parse(template).ok()?;
    template.render(&Data { fields: &fields, label: &label }).ok()
}

/// The zone that a resource comes from: its label, or what older releases put before its name.
fn zone_of(service: &Resource) -> String {
    let name = &service.key.name;
    let of_name = || name.split('.').next().unwrap_or_default();
    service.label(ZONE).unwrap_or_else(of_name).to_owned()
}
