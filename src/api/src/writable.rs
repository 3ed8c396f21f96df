//! Which kinds can be written on this control plane.

use model::labels::Site;
use model::{KdsFlags, Kind};

use crate::settings::Settings;

const ON_GLOBAL: &str = "On global control plane you can not modify dataplane resources with 'kumactl apply' or via the HTTP API. You can still use 'kumactl' or the HTTP API to modify them on the zone control plane.\n";
const ON_ZONE: &str = "On zone control plane you can only modify zone resources with 'kumactl apply' or via the HTTP API. You can still use 'kumactl' or the HTTP API to modify the rest of the resource on the global control plane.\n";

/// Whether the kind can only be read here.
pub(crate) fn is_read_only(kind: Kind, settings: &Settings) -> bool {
    let elsewhere = match settings.site {
        Site::Global => !kind.kds.has(KdsFlags::PROVIDED_BY_GLOBAL),
        Site::Zone { federated: true, .. } => !kind.kds.has(KdsFlags::PROVIDED_BY_ZONE),
        Site::Zone { federated: false, .. } => false,
    };
    kind.read_only || settings.read_only || elsewhere
}

/// Where it can be written instead.
pub(crate) fn elsewhere(site: &Site) -> &'static str {
    match site {
        Site::Global => ON_GLOBAL,
        Site::Zone { .. } => ON_ZONE,
    }
}

#[cfg(test)]
mod tests {
    use model::registry::*;

    use super::*;

    #[test]
    fn each_control_plane_writes_what_it_provides() {
        let zone = |federated| Site::Zone { name: "z".to_owned(), federated, kubernetes: false };
        let read_only = |site, kind| is_read_only(kind, &Settings { site, ..Settings::default() });
        for (kind, expected) in [
            (DATAPLANE, [false, false, true]),
            (MESH_SERVICE, [false, false, true]),
            (WORKLOAD, [false, false, true]),
            (MESH_ZONE_ADDRESS, [false, false, true]),
            (MESH, [false, true, false]),
            (MESH_MULTI_ZONE_SERVICE, [false, true, false]),
            (SECRET, [false, false, false]),
            (GLOBAL_SECRET, [false, false, false]),
            (ZONE, [false, false, false]),
            (HOSTNAME_GENERATOR, [false, false, false]),
            (MESH_TIMEOUT, [false, false, false]),
            (DATAPLANE_INSIGHT, [true, true, true]),
            (ZONE_INSIGHT, [true, true, true]),
        ] {
            let seen = [zone(false), zone(true), Site::Global].map(|site| read_only(site, kind));
            assert_eq!(seen, expected, "{kind}");
        }
    }
}
