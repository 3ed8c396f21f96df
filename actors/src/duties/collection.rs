//! What duties ask of resources again and again.

use model::kinds::dataplane::Dataplane;
use model::kinds::dataplane_insight::DataplaneInsight;
use model::kinds::mesh_service::MeshService;
use model::labels::{ORIGIN, WORKLOAD};
use model::names::dns_1035_label;
use model::registry::DATAPLANE_INSIGHT;
use model::{Key, Resource};
use store::State;

/// Whether this zone made the resource: its origin is absent or `zone`.
pub fn is_local(resource: &Resource) -> bool {
    resource.label(ORIGIN).is_none_or(|origin| origin == "zone")
}

/// The workload of a dataplane, when it is one that can name a service (RFC 1035).
pub fn workload(dataplane: &Resource) -> Option<&str> {
    dataplane.label(WORKLOAD).filter(|name| dns_1035_label(name).is_empty())
}

/// Whether the proxy of a dataplane is connected somewhere.
pub fn is_online(state: &State, dataplane: &Resource) -> bool {
    let key = Key::new(DATAPLANE_INSIGHT, &dataplane.key.mesh, &dataplane.key.name);
    state.get(&key).and_then(|r| r.spec::<DataplaneInsight>()).is_some_and(DataplaneInsight::is_online)
}

/// Whether a service selects a dataplane. One without inbounds is never selected.
pub fn selects(service: &MeshService, dataplane: &Resource) -> bool {
    let has_inbounds = dataplane.spec::<Dataplane>().is_some_and(|d| !d.inbounds().is_empty());
    let by_name = service.selector.dataplane_ref.as_ref().map(|r| r.name == *dataplane.key.name);
    let by_labels = || service.selector.dataplane_labels.as_ref().map(|s| s.matches(&dataplane.meta.labels));
    has_inbounds && by_name.or_else(by_labels).unwrap_or(false)
}

/// Whether every port of a service has a ready inbound in a dataplane.
pub fn serves_all_ports(service: &MeshService, dataplane: &Dataplane) -> bool {
    use model::kinds::dataplane::InboundState;
    service.ports.iter().all(|port| {
        let target = port.target_port.as_ref();
        target.is_some_and(|target| {
            dataplane.inbounds().iter().any(|i| i.is_target_port(target) && i.state == InboundState::Ready)
        })
    })
}
