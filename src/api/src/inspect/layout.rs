//! `_layout`: the parts of a proxy and the names of their Envoy resources.

use model::kinds::dataplane::{ListenerType, ReachableBackendRef};
use model::kinds::mesh_external_service::MeshExternalService;
use model::kinds::mesh_multi_zone_service::MeshMultiZoneService;
use model::kinds::mesh_service::MeshService;
use model::kinds::protocol::Protocol;
use model::{Kind, Kri, Resource, labels, registry};
use policy::Destination;
use policy::target_ref::includes;
use serde_json::{Map, Value, json};

use super::picture::Picture;
use crate::call::Call;
use crate::json;
use crate::routes::Answer;

/// Kinds that proxies send traffic to.
const DESTINATIONS: [Kind; 3] =
    [registry::MESH_SERVICE, registry::MESH_EXTERNAL_SERVICE, registry::MESH_MULTI_ZONE_SERVICE];

/// `GET …/dataplanes/{name}/_layout`.
pub(crate) async fn layout(call: Call) -> Answer {
    let state = call.state().await?;
    call.may_access(registry::DATAPLANE)?;
    call.mesh(&state)
        .map_err(|problem| crate::errors::Problem { title: "Failed to build MeshContext".to_owned(), ..problem })?;
    let picture = Picture::of(&call, &state, "Failed to retrieve Dataplane")?;
    let own_labels = Some(&picture.resource.meta.labels).filter(|labels| !labels.is_empty());
    let mut body = Map::new();
    body.insert("kri".to_owned(), json!(picture.kri().to_string()));
    body.insert("labels".to_owned(), json!(own_labels));
    body.insert("inbounds".to_owned(), inbounds(&picture));
    body.insert("listeners".to_owned(), listeners(&picture));
    body.insert("outbounds".to_owned(), outbounds(&picture));
    Ok(json::response(&body))
}

fn inbounds(picture: &Picture<'_>) -> Value {
    let shown = picture.dataplane.inbounds().iter().map(|inbound| {
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

fn listeners(picture: &Picture<'_>) -> Value {
    let shown = picture.dataplane.listeners().iter().filter_map(|listener| {
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
fn outbounds(picture: &Picture<'_>) -> Value {
    let mut ports: Vec<_> = DESTINATIONS
        .into_iter()
        .flat_map(|kind| picture.destinations.of_kind(kind))
        .flat_map(|destination| ports(&destination.resource).into_iter().map(move |port| (destination, port)))
        .filter(|(destination, (number, ..))| reaches(picture, destination, *number))
        .map(|(destination, (number, section, protocol))| {
            (destination.kri.with_section(&section).to_string(), number, protocol)
        })
        .collect();
    ports.sort();
    let shown = ports.into_iter().map(
        |(kri, port, protocol)| json!({ "kri": kri, "port": port, "protocol": protocol, "proxyResourceName": kri }),
    );
    shown.collect()
}

/// Number, section and protocol of a destination's ports.
fn ports(destination: &Resource) -> Vec<(u32, String, String)> {
    let protocol = |protocol: Protocol| protocol.as_str().to_owned();
    if let Some(service) = destination.spec::<MeshService>() {
        service.ports.iter().map(|p| (p.number(), p.section_name(), protocol(p.protocol()))).collect()
    } else if let Some(service) = destination.spec::<MeshMultiZoneService>() {
        service.ports.iter().map(|p| (p.number(), p.section_name(), protocol(p.protocol()))).collect()
    } else if let Some(service) = destination.spec::<MeshExternalService>() {
        vec![(service.matched.number(), service.section_name(), protocol(Protocol::parse(&service.matched.protocol)))]
    } else {
        Vec::new()
    }
}

/// Whether the proxy names this port among its outbounds or reachable backends, or names none.
fn reaches(picture: &Picture<'_>, destination: &Destination, port: u32) -> bool {
    let Some(networking) = &picture.dataplane.networking else { return false };
    if !networking.outbound.is_empty() {
        return networking.outbound.iter().filter_map(|outbound| outbound.backend_ref.as_ref()).any(|backend| {
            let named = Named { kind: &backend.kind, name: &backend.name, namespace: "", labels: &backend.labels };
            backend.port == port && named.is(picture, destination)
        });
    }
    let reachable = networking.transparent_proxying.as_ref().and_then(|tp| tp.reachable_backends.as_ref());
    reachable.is_none_or(|reachable| {
        reachable.refs.iter().any(|backend| {
            let ReachableBackendRef { kind, name, namespace, labels, .. } = backend;
            let named = Named { kind, name, namespace, labels };
            backend.port.is_none_or(|wanted| wanted == port) && named.is(picture, destination)
        })
    })
}

/// A reference to a destination.
struct Named<'a> {
    kind: &'a str,
    name: &'a str,
    namespace: &'a str,
    labels: &'a model::Labels,
}

impl Named<'_> {
    /// By labels, or by name among what the proxy's own zone or the global control plane wrote.
    fn is(&self, picture: &Picture<'_>, destination: &Destination) -> bool {
        if self.kind != destination.kri.kind.name {
            return false;
        }
        if self.name.is_empty() {
            return !self.labels.is_empty() && includes(&destination.resource.meta.labels, self.labels);
        }
        let Kri { zone, namespace, .. } = picture.kri();
        let wanted_namespace = if self.namespace.is_empty() { &*namespace } else { self.namespace };
        let kri = &destination.kri;
        let is_local = kri.zone.is_empty() || zone.is_empty() || kri.zone == zone;
        let in_namespace = kri.namespace.is_empty() || *kri.namespace == *wanted_namespace;
        let label = destination.resource.label(labels::DISPLAY_NAME);
        (*kri.name == *self.name || label == Some(self.name)) && is_local && in_namespace
    }
}
