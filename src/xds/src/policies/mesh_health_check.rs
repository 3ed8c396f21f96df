//! MeshHealthCheck: which endpoints a proxy finds healthy by asking them.
//! Resource: Kuma `MeshHealthCheck`. Touches: Cluster.health_checks,
//! Cluster.common_lb_config.zone_aware_lb_config.

mod checker;
mod conf;

use model::registry;

use super::{Edit, Policy};
use crate::envoy::cluster::Cluster;
use crate::envoy::cluster::cluster::common_lb_config::{LocalityConfigSpecifier, ZoneAwareLbConfig};
use conf::Conf;

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_HEALTH_CHECK, edit };

fn edit(edit: &mut Edit<'_>) {
    let labels = edit.proxy.labels;
    for (destination, cluster) in edit.set.destination_clusters_mut() {
        let Some(conf) = edit.faults.to::<Conf>(edit.rules.to.compute(&destination)) else { continue };
        if let Some(check) = checker::health_check(&conf, cluster.protocol, labels) {
            cluster.cluster.health_checks.push(check);
        }
        if let Some(fail) = conf.fail_traffic_on_panic {
            fail_traffic_on_panic(&mut cluster.cluster, fail);
        }
    }
}

/// Locality-weighted load balancing has no such switch, and stays.
fn fail_traffic_on_panic(cluster: &mut Cluster, fail: bool) {
    let specifier = &mut cluster.common_lb_config.get_or_insert_default().locality_config_specifier;
    if matches!(specifier, Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_))) {
        return;
    }
    let config = ZoneAwareLbConfig { fail_traffic_on_panic: fail, ..Default::default() };
    *specifier = Some(LocalityConfigSpecifier::ZoneAwareLbConfig(config));
}

#[cfg(test)]
mod tests;
