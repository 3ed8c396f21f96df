//! What duties need to know of the control plane that they run in.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use model::Kind;
use model::registry::{MESH_EXTERNAL_SERVICE, MESH_MULTI_ZONE_SERVICE, MESH_SERVICE};

/// What duties need to know of the control plane that they run in.
#[derive(Clone, Debug)]
pub struct DutySettings {
    /// The zone's name.
    pub zone: String,
    /// Whether this control plane is global: then only what belongs there is kept.
    pub global: bool,
    /// `ipam.meshService.cidr`.
    pub mesh_service_cidr: Ipv4Net,
    /// `ipam.meshExternalService.cidr`.
    pub mesh_external_service_cidr: Ipv4Net,
    /// `ipam.meshMultiZoneService.cidr`.
    pub mesh_multi_zone_service_cidr: Ipv4Net,
    /// `meshService.deletionGracePeriod`.
    pub deletion_grace_period: Duration,
    /// `meshService.labelPropagation`; `None` when it is off.
    pub label_propagation: Option<LabelPropagation>,
    /// `runtime.universal.dataplaneCleanupAge`.
    pub dataplane_cleanup_age: Duration,
    /// `metrics.dataplane.idleTimeout`: a subscription that did not show life for so long is closed.
    pub dataplane_idle_timeout: Duration,
}

/// Which labels of dataplanes their MeshServices inherit.
#[derive(Clone, Debug, Default)]
pub struct LabelPropagation {
    /// The only keys that are inherited; empty means all that are not reserved.
    pub allowed_keys: Vec<String>,
}

impl Default for DutySettings {
    fn default() -> Self {
        let block = |first| Ipv4Net::new_assert(Ipv4Addr::new(first, 0, 0, 0), 8);
        Self {
            zone: "default".to_owned(),
            global: false,
            mesh_service_cidr: block(241),
            mesh_external_service_cidr: block(242),
            mesh_multi_zone_service_cidr: block(243),
            deletion_grace_period: Duration::from_secs(3600),
            label_propagation: None,
            dataplane_cleanup_age: Duration::from_secs(72 * 3600),
            dataplane_idle_timeout: Duration::from_secs(300),
        }
    }
}

impl DutySettings {
    /// The block that virtual addresses of a kind come from; `None` for kinds without.
    pub fn cidr(&self, kind: Kind) -> Option<Ipv4Net> {
        if kind == MESH_SERVICE {
            Some(self.mesh_service_cidr)
        } else if kind == MESH_EXTERNAL_SERVICE {
            Some(self.mesh_external_service_cidr)
        } else if kind == MESH_MULTI_ZONE_SERVICE {
            Some(self.mesh_multi_zone_service_cidr)
        } else {
            None
        }
    }
}
