//! What references mean to policies: their precedence, and the destinations that they name.

use model::kinds::target_ref::{BackendRef, RefKind};
use model::{Kind, Labels, registry};

/// Position of a kind of reference in the order of precedence, low first (the numbers are Kuma's).
/// What is not known ranks lowest.
pub fn rank(kind: &RefKind) -> u8 {
    match kind {
        RefKind::Unknown(_) => 0,
        RefKind::Mesh => 1,
        RefKind::Dataplane => 2,
        RefKind::MeshService => 5,
        RefKind::MeshExternalService => 6,
        RefKind::MeshMultiZoneService => 7,
        RefKind::MeshHttpRoute => 9,
    }
}

/// The registered kind of the services that a reference names; `None` when it names none.
pub fn service_kind(kind: &RefKind) -> Option<Kind> {
    match kind {
        RefKind::MeshService => Some(registry::MESH_SERVICE),
        RefKind::MeshExternalService => Some(registry::MESH_EXTERNAL_SERVICE),
        RefKind::MeshMultiZoneService => Some(registry::MESH_MULTI_ZONE_SERVICE),
        RefKind::Mesh | RefKind::Dataplane | RefKind::MeshHttpRoute | RefKind::Unknown(_) => None,
    }
}

/// Whether `labels` has every pair of `wanted`.
pub fn includes(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The section of a destination that a backend names: its section name, else its port number; empty
/// when it gives neither.
pub fn section_of(backend: &BackendRef) -> String {
    match (backend.target.section(), backend.port) {
        (Some(name), _) => name.to_owned(),
        (None, Some(port)) if port > 0 => port.to_string(),
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_kinds_rank_lowest_and_name_nothing() {
        let unknown = RefKind::from("MeshSubset");
        assert_eq!((rank(&unknown), service_kind(&unknown)), (0, None));
    }

    #[test]
    fn a_backend_names_its_section_by_name_before_port() {
        let section = |json: &str| section_of(&serde_json::from_str(json).expect("decodes"));
        assert_eq!(section(r#"{"kind":"MeshService","sectionName":"http","port":80}"#), "http");
        assert_eq!(section(r#"{"kind":"MeshService","port":80}"#), "80");
        assert_eq!(section(r#"{"kind":"MeshService"}"#), "");
    }
}
