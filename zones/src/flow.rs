//! What flows between a global control plane and its zones.

use model::labels::{KDS_SYNC, ORIGIN, ORIGIN_GLOBAL, ZONE};
use model::{KdsFlags, Key, Kind, Resource, registry};

/// A way between a global control plane and a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the global control plane to a zone.
    ToZone,
    /// From a zone to the global control plane.
    ToGlobal,
}

/// Global secrets that are a control plane's own: they never leave it.
const OWN_SECRETS: [&str; 4] = ["envoy-admin-ca", "admin-user-token", "inter-cp-ca", "user-token-revocations"];
/// Beginning of the names of keys that sign user tokens; each control plane has its own.
const USER_SIGNING_KEYS: &str = "user-token-signing-key";
/// The one `Config` that zones share with the global control plane.
const SHARED_CONFIG: &str = "kuma-cluster-id";

/// The kinds that flow in a direction, by name.
pub fn kinds(direction: Direction) -> impl Iterator<Item = Kind> {
    registry::KINDS.iter().copied().filter(move |kind| flows(*kind, direction))
}

/// Whether any resource of the kind flows in a direction.
pub fn flows(kind: Kind, direction: Direction) -> bool {
    match direction {
        Direction::ToGlobal => kind.kds.has(KdsFlags::ZONE_TO_GLOBAL),
        Direction::ToZone => kind.kds.has(KdsFlags::GLOBAL_TO_ZONE) || kind.kds.has(KdsFlags::SYNCED_ACROSS_ZONES),
    }
}

/// Whether a resource of the global control plane goes to the zone called `zone`.
///
/// What another zone wrote goes on only when its kind is synchronised across zones, and never back
/// to where it came from; whether that zone is enabled is for the caller to say, and so is the role
/// of a policy.
pub fn goes_to_zone(resource: &Resource, zone: &str) -> bool {
    let Resource { key, .. } = resource;
    if resource.label(KDS_SYNC) == Some("disabled") || is_own(key) {
        return false;
    }
    let is_global = matches!(resource.label(ORIGIN), None | Some(ORIGIN_GLOBAL));
    if is_global {
        return key.kind.kds.has(KdsFlags::GLOBAL_TO_ZONE);
    }
    key.kind.kds.has(KdsFlags::SYNCED_ACROSS_ZONES) && zone_of(resource) != zone
}

/// Whether the resource belongs to one control plane alone, whatever its kind.
pub fn is_own(key: &Key) -> bool {
    if key.kind == registry::CONFIG {
        return *key.name != *SHARED_CONFIG;
    }
    key.kind == registry::GLOBAL_SECRET
        && (OWN_SECRETS.contains(&&*key.name) || key.name.starts_with(USER_SIGNING_KEYS))
}

/// The zone that a resource comes from: its label, or what older releases put before its name.
pub fn zone_of(resource: &Resource) -> &str {
    let of_name = || resource.key.name.split('.').next().unwrap_or_default();
    resource.label(ZONE).unwrap_or_else(of_name)
}

#[cfg(test)]
mod tests {
    use model::{Labels, Meta, Spec, Timestamp};
    use serde_json::json;

    use super::*;

    fn resource(kind: Kind, name: &str, labels: &[(&str, &str)]) -> Resource {
        let labels: Labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let meta = Meta { labels, ..Meta::new(Timestamp::UNIX_EPOCH) };
        Resource { key: Key::new(kind, "default", name), meta, spec: Spec::of(json!({})).unwrap(), status: None }
    }

    #[test]
    fn credentials_of_one_control_plane_stay() {
        for (name, goes) in [
            ("envoy-admin-ca", false),
            ("admin-user-token", false),
            ("user-token-signing-key-7", false),
            ("zone-token-signing-key-1", true),
            ("my-own", true),
        ] {
            assert_eq!(goes_to_zone(&resource(registry::GLOBAL_SECRET, name, &[]), "east"), goes, "{name}");
        }
        assert!(!goes_to_zone(&resource(registry::CONFIG, "leader", &[]), "east"));
    }

    #[test]
    fn services_of_a_zone_reach_the_other_zones() {
        let service = resource(registry::MESH_SERVICE, "api", &[(ORIGIN, "zone"), (ZONE, "east")]);
        assert!(!goes_to_zone(&service, "east"));
        assert!(goes_to_zone(&service, "west"));
        let trust = resource(registry::MESH_TRUST, "t", &[(ORIGIN, "zone"), (ZONE, "east")]);
        assert!(!goes_to_zone(&trust, "west"), "trusts of a zone stop at global");
        let withheld = resource(registry::MESH_TRUST, "t", &[(KDS_SYNC, "disabled")]);
        assert!(!goes_to_zone(&withheld, "west"));
    }

    #[test]
    fn zones_and_their_insights_flow_nowhere() {
        for kind in [registry::ZONE, registry::ZONE_INSIGHT, registry::MESH_INSIGHT] {
            assert!(!flows(kind, Direction::ToZone) && !flows(kind, Direction::ToGlobal), "{kind}");
        }
        assert!(flows(registry::DATAPLANE, Direction::ToGlobal) && !flows(registry::DATAPLANE, Direction::ToZone));
        assert!(flows(registry::MESH, Direction::ToZone) && !flows(registry::MESH, Direction::ToGlobal));
    }
}
