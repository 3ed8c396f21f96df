//! `_layout`: the parts of a proxy and the names of their Envoy resources.

use model::kinds::dataplane::ListenerType;
use model::{Kri, registry};
use policy::target_ref::includes;
use serde_json::{Map, Value, json};
use xds::view::{Destination, Port, ReachRef};

use super::picture::Picture;
use crate::call::Call;
use crate::errors::Problem;
use crate::json;
use crate::routes::Answer;

/// `GET …/dataplanes/{name}/_layout`.
pub(crate) async fn layout(call: Call) -> Answer {
    let state = call.state().await?;
    call.may_access(registry::DATAPLANE)?;
    let title = "Failed to build MeshContext".to_owned();
    call.mesh(&state).map_err(|problem| Problem { title, ..problem })?;
    let picture = Picture::of(&call, &state, "Failed to retrieve Dataplane")?;
    let own_labels = Some(&picture.resource().meta.labels).filter(|labels| !labels.is_empty());
    let mut body = Map::new();
    body.insert("kri".to_owned(), json!(picture.kri().to_string()));
    body.insert("labels".to_owned(), json!(own_labels));
    body.insert("inbounds".to_owned(), inbounds(&picture));
    body.insert("listeners".to_owned(), listeners(&picture));
    body.insert("outbounds".to_owned(), outbounds(&picture));
    if let Some(id) = picture.view.spiffe_id_of(&picture.entry) {
        body.insert("spiffeId".to_owned(), json!(id));
    }
    Ok(json::response(&body))
}

fn inbounds(picture: &Picture) -> Value {
    let shown = picture.dataplane().inbounds().iter().map(|inbound| {
        let section = inbound.section_name();
        json!({
            "kri": picture.kri().with_section(&section).to_string(),
            "port": inbound.port,
            "protocol": inbound.parsed_protocol().as_str(),
            "proxyResourceName": xds::names::inbound(&section),
        })
    });
    shown.collect()
}

fn listeners(picture: &Picture) -> Value {
    let shown = picture.dataplane().listeners().iter().filter_map(|listener| {
        let section = listener.section_name();
        let (kind, name) = match listener.kind {
            ListenerType::ZoneIngress => ("ZoneIngress", xds::names::zone_ingress(&section)),
            ListenerType::ZoneEgress => ("ZoneEgress", xds::names::zone_egress(&section)),
            ListenerType::Unspecified => return None,
        };
        Some(json!({
            "kri": picture.kri().with_section(&section).to_string(),
            "port": listener.port,
            "proxyResourceName": name,
            "type": kind,
        }))
    });
    shown.collect()
}

/// The ports of all destinations that the proxy can reach, by identifier.
fn outbounds(picture: &Picture) -> Value {
    let mut ports: Vec<(Kri, &Port)> = Vec::new();
    for destination in picture.view.destinations() {
        let reached = destination.ports.iter().filter(|port| reaches(picture, destination, port));
        ports.extend(reached.map(|port| (destination.port_kri(port), port)));
    }
    let mut shown: Vec<_> = ports.into_iter().map(|(kri, port)| (kri.to_string(), port)).collect();
    shown.sort_by(|(a, _), (b, _)| a.cmp(b));
    let shown = shown.into_iter().map(|(kri, port)| {
        json!({ "kri": kri, "port": port.number, "protocol": port.protocol.as_str(), "proxyResourceName": kri })
    });
    shown.collect()
}

/// Whether the proxy names this port among its outbounds or reachable backends, or names none.
fn reaches(picture: &Picture, destination: &Destination, port: &Port) -> bool {
    let reach = &picture.entry.reach;
    if reach.all && reach.refs.is_empty() {
        return true;
    }
    reach.refs.iter().any(|ReachRef { kind, labels, section }| {
        let wanted = section.as_deref();
        *kind == destination.key.kind
            && includes(&destination.labels, labels)
            && wanted.is_none_or(|section| destination.port(section) == Some(port))
    })
}
