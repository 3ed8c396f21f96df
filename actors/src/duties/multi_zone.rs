//! Which MeshServices a MeshMultiZoneService stands for.

use model::kinds::conditions::Condition;
use model::kinds::mesh_multi_zone_service::{MatchedMeshService, MeshMultiZoneService, MeshMultiZoneServiceStatus};

use model::kri::display_name;
use model::labels::{NAMESPACE, ZONE};

use super::pass::Pass;

/// Brings the matched services of MeshMultiZoneServices up to date.
pub fn keep(pass: &mut Pass) {
    for key in pass.focus().multi_zone.clone() {
        let Some(multi) = pass.state().get(&key).cloned() else { continue };
        let Some(spec) = multi.spec::<MeshMultiZoneService>() else { continue };
        let wanted = spec.selector.mesh_service.match_labels.clone().unwrap_or_default();
        let services = pass.index().services(&key.mesh, &wanted);
        let label = |service: &model::Resource, key| service.label(key).unwrap_or_default().to_owned();
        let mut matched: Vec<_> = services
            .iter()
            .filter_map(|service| pass.state().get(service))
            .map(|service| MatchedMeshService {
                name: display_name(service).to_owned(),
                namespace: label(service, NAMESPACE),
                zone: label(service, ZONE),
                mesh: key.mesh.to_string(),
            })
            .collect();
        matched.sort_by_key(|m| format!("{}/{}/{}/{}", m.name, m.namespace, m.zone, m.mesh));
        let condition = if matched.is_empty() {
            let message = "Selector does not match any MeshService in this zone";
            Condition::fails("MeshServicesMatched", "NoMatchesFound", message)
        } else {
            let message = format!("Matched {} MeshService(s)", matched.len());
            Condition::holds("MeshServicesMatched", "MatchesFound", message)
        };
        let mut status = multi.status::<MeshMultiZoneServiceStatus>().cloned().unwrap_or_default();
        status.mesh_services = matched;
        status.conditions.retain(|c| c.kind != condition.kind);
        status.conditions.push(condition);
        pass.put_status(&multi.key, status);
    }
}
