//! Health discovery: what Envoy is asked to check of its workload and of itself, and what its reports
//! make of a Dataplane.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::health_check::{HealthChecker, HttpHealthCheck, TcpHealthCheck};
use envoy_types::pb::envoy::config::core::v3::{HealthCheck, HealthStatus};
use envoy_types::pb::envoy::service::health::v3::{
    ClusterEndpointsHealth, ClusterHealthCheck, HealthCheckSpecifier, LocalityEndpoints,
};
use model::kinds::dataplane::{Dataplane, Inbound, InboundState, ServiceProbe};

use crate::bootstrap::ProxyMetadata;
use crate::envoy::{UInt32Value, core::Address, duration, endpoint::Endpoint, pipe, socket_address};
use crate::generators::blocks::bind_to_passthrough_source;
use crate::generators::dataplane::inbounds;
use crate::names::ENVOY_ADMIN;
use crate::proxy::redirection_of;

/// How older proxies call the cluster of their admin interface.
const ENVOY_ADMIN_BEFORE: &str = "kuma:envoy:admin";
/// Where Envoy's admin interface listens when it has a port.
const LOOPBACK: &str = "127.0.0.1";

/// `dpServer.hds`: how proxies check, as far as a Dataplane does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// How often Envoy reports.
    pub report_interval: Duration,
    /// Until a check has failed.
    pub timeout: Duration,
    /// Between checks.
    pub interval: Duration,
    /// Between checks while there is no traffic.
    pub no_traffic_interval: Duration,
    /// Good answers until something is healthy.
    pub healthy_threshold: u32,
    /// Failures until it is not.
    pub unhealthy_threshold: u32,
}

impl Default for HealthSettings {
    /// Kuma's defaults.
    fn default() -> Self {
        Self {
            report_interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            interval: Duration::from_secs(1),
            no_traffic_interval: Duration::from_secs(1),
            healthy_threshold: 1,
            unhealthy_threshold: 1,
        }
    }
}

/// Whether any inbound is to be checked. Without that, reports change nothing.
pub fn has_probes(dataplane: &Dataplane) -> bool {
    probed(dataplane).next().is_some()
}

fn probed(dataplane: &Dataplane) -> impl Iterator<Item = &Inbound> {
    let inbounds = dataplane.networking.iter().flat_map(|networking| &networking.inbound);
    inbounds.filter(|inbound| inbound.service_probe.is_some())
}

/// What a proxy is asked to check.
pub fn specifier(dataplane: &Dataplane, metadata: &ProxyMetadata, settings: &HealthSettings) -> HealthCheckSpecifier {
    let admin_port = u16::try_from(metadata.admin_port).unwrap_or_default();
    let admin = match metadata.admin_socket_path.as_str() {
        "" => socket_address(LOOPBACK, admin_port),
        path => pipe(path),
    };
    let ready = HealthChecker::HttpHealthCheck(HttpHealthCheck { path: "/ready".to_owned(), ..Default::default() });
    let own = cluster(ENVOY_ADMIN.to_owned(), admin, check(&ServiceProbe::default(), settings, ready));
    let redirection = redirection_of(dataplane, metadata);
    let is_redirected = redirection.enabled(dataplane.address());
    let served = inbounds(dataplane);
    let probes = probed(dataplane).filter_map(|inbound| {
        let probe = inbound.service_probe.as_ref()?;
        let served = served.iter().find(|served| served.section == inbound.section_name())?;
        let tcp = HealthChecker::TcpHealthCheck(TcpHealthCheck::default());
        let address = socket_address(&served.workload_address, served.workload_port);
        let name = probe_name(inbound);
        let mut cluster = cluster(name, address, check(probe, settings, tcp));
        let ip: Option<std::net::IpAddr> = served.workload_address.parse().ok();
        if let Some(ip) = ip.filter(|ip| is_redirected && !ip.is_loopback()) {
            cluster.upstream_bind_config = Some(bind_to_passthrough_source(ip.is_ipv6()));
        }
        Some(cluster)
    });
    HealthCheckSpecifier {
        cluster_health_checks: std::iter::once(own).chain(probes).collect(),
        interval: Some(duration(settings.report_interval)),
    }
}

/// The name under which the workload of an inbound is checked.
fn probe_name(inbound: &Inbound) -> String {
    format!("localhost:{}", inbound.workload_port())
}

fn cluster(name: String, address: Address, check: HealthCheck) -> ClusterHealthCheck {
    let endpoint = Endpoint { address: Some(address), ..Default::default() };
    ClusterHealthCheck {
        cluster_name: name,
        health_checks: vec![check],
        locality_endpoints: vec![LocalityEndpoints { endpoints: vec![endpoint], ..Default::default() }],
        ..Default::default()
    }
}

fn check(probe: &ServiceProbe, settings: &HealthSettings, checker: HealthChecker) -> HealthCheck {
    let threshold = |value: u32| Some(UInt32Value { value });
    HealthCheck {
        timeout: Some(duration(probe.timeout.map_or(settings.timeout, |timeout| timeout.to_std()))),
        interval: Some(duration(probe.interval.map_or(settings.interval, |interval| interval.to_std()))),
        healthy_threshold: threshold(probe.healthy_threshold.unwrap_or(settings.healthy_threshold)),
        unhealthy_threshold: threshold(probe.unhealthy_threshold.unwrap_or(settings.unhealthy_threshold)),
        no_traffic_interval: Some(duration(settings.no_traffic_interval)),
        health_checker: Some(checker),
        ..Default::default()
    }
}

/// The Dataplane after a report; `None` when it is as before. An inbound is ready when its workload and
/// its proxy are; one that is ignored stays so.
pub fn after_report(dataplane: &Dataplane, report: &[ClusterEndpointsHealth]) -> Option<Dataplane> {
    let reported = |name: &str| report.iter().find(|cluster| cluster.cluster_name == name).and_then(is_healthy);
    let envoy = reported(ENVOY_ADMIN).or_else(|| reported(ENVOY_ADMIN_BEFORE)).unwrap_or(true);
    let mut changed = dataplane.clone();
    let inbounds = changed.networking.iter_mut().flat_map(|networking| &mut networking.inbound);
    for inbound in inbounds.filter(|inbound| inbound.service_probe.is_some()) {
        let ready = envoy && reported(&probe_name(inbound)).unwrap_or(inbound.is_ready());
        set_ready(inbound, ready);
    }
    (changed != *dataplane).then_some(changed)
}

fn set_ready(inbound: &mut Inbound, ready: bool) {
    if inbound.state == InboundState::Ignored {
        return;
    }
    inbound.state = if ready { InboundState::Ready } else { InboundState::NotReady };
    inbound.health.get_or_insert_default().ready = ready;
}

/// Whether the first endpoint of a cluster is healthy; not known counts as healthy.
fn is_healthy(cluster: &ClusterEndpointsHealth) -> Option<bool> {
    let first = cluster.locality_endpoints_health.first()?.endpoints_health.first()?;
    Some(matches!(first.health_status(), HealthStatus::Healthy | HealthStatus::Unknown))
}

/// A Dataplane that a proxy brings along, as it is stored: an inbound that is checked takes no traffic
/// before the first good answer, and one that was checked before stays what it was.
#[must_use]
pub fn brought(mut dataplane: Dataplane, stored: Option<&Dataplane>) -> Dataplane {
    let known: Vec<_> = stored.into_iter().flat_map(probed).collect();
    let inbounds = dataplane.networking.iter_mut().flat_map(|networking| &mut networking.inbound);
    for inbound in inbounds.filter(|inbound| inbound.service_probe.is_some()) {
        let same = |known: &&&Inbound| known.port == inbound.port && known.workload_port() == inbound.workload_port();
        match known.iter().find(same) {
            Some(known) if inbound.state != InboundState::Ignored => {
                (inbound.state, inbound.health) = (known.state, known.health);
            }
            Some(_) | None => set_ready(inbound, false),
        }
    }
    dataplane
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::health::v3::{EndpointHealth, LocalityEndpointsHealth};
    use serde_json::json;

    use super::*;
    use crate::json::to_json;

    fn dataplane(inbound: serde_json::Value) -> Dataplane {
        serde_json::from_value(json!({"networking": {"address": "10.20.0.1", "inbound": [inbound],
            "transparentProxying": {"redirectPortInbound": 15006, "redirectPortOutbound": 15001}}}))
        .unwrap()
    }

    fn report(clusters: &[(&str, HealthStatus)]) -> Vec<ClusterEndpointsHealth> {
        let cluster = |(name, status): &(&str, HealthStatus)| ClusterEndpointsHealth {
            cluster_name: (*name).to_owned(),
            locality_endpoints_health: vec![LocalityEndpointsHealth {
                endpoints_health: vec![EndpointHealth { health_status: (*status).into(), ..Default::default() }],
                ..Default::default()
            }],
        };
        clusters.iter().map(cluster).collect()
    }

    fn states(dataplane: &Dataplane) -> Vec<(InboundState, bool)> {
        let inbounds = dataplane.networking.iter().flat_map(|networking| &networking.inbound);
        inbounds.map(|inbound| (inbound.state, inbound.is_healthy())).collect()
    }

    #[test]
    fn the_workload_and_the_proxy_are_checked() {
        let dataplane = dataplane(json!({"port": 9000, "servicePort": 80,
            "serviceProbe": {"tcp": {}, "timeout": "7s", "healthyThreshold": 3}}));
        let metadata = ProxyMetadata { admin_socket_path: "/w/admin.sock".to_owned(), ..Default::default() };
        let message = specifier(&dataplane, &metadata, &HealthSettings::default());
        let json = to_json(&message).unwrap();
        assert_eq!(json["interval"], "5s");
        let [own, workload] = json["clusterHealthChecks"].as_array().unwrap().as_slice() else { panic!("{json}") };
        assert_eq!(own["clusterName"], "system_envoy_admin");
        assert_eq!(own["localityEndpoints"][0]["endpoints"][0]["address"]["pipe"]["path"], "/w/admin.sock");
        assert_eq!(own["healthChecks"][0]["httpHealthCheck"]["path"], "/ready");
        assert_eq!(workload["clusterName"], "localhost:80");
        let check = &workload["healthChecks"][0];
        assert_eq!((&check["timeout"], &check["interval"]), (&json!("7s"), &json!("1s")));
        assert_eq!((&check["healthyThreshold"], &check["unhealthyThreshold"]), (&json!(3), &json!(1)));
        assert_eq!(workload["upstreamBindConfig"]["sourceAddress"]["address"], "127.0.0.6");
        let address = &workload["localityEndpoints"][0]["endpoints"][0]["address"]["socketAddress"];
        assert_eq!(*address, json!({"address": "10.20.0.1", "portValue": 80}));
    }

    #[test]
    fn reports_turn_checked_inbounds_and_leave_others() {
        let started = brought(dataplane(json!({"port": 80, "serviceProbe": {"tcp": {}}})), None);
        assert_eq!(states(&started), [(InboundState::NotReady, false)]);
        let good = report(&[("system_envoy_admin", HealthStatus::Healthy), ("localhost:80", HealthStatus::Healthy)]);
        let ready = after_report(&started, &good).unwrap();
        assert_eq!(states(&ready), [(InboundState::Ready, true)]);
        assert_eq!(after_report(&ready, &good), None, "nothing new");
        assert_eq!(after_report(&ready, &[]), None, "a report that says nothing changes nothing");

        let draining =
            report(&[("kuma:envoy:admin", HealthStatus::Unhealthy), ("localhost:80", HealthStatus::Healthy)]);
        assert_eq!(states(&after_report(&ready, &draining).unwrap()), [(InboundState::NotReady, false)]);
        let ignored = dataplane(json!({"port": 80, "state": "Ignored", "serviceProbe": {"tcp": {}}}));
        assert_eq!(after_report(&ignored, &draining), None);
        assert_eq!(after_report(&dataplane(json!({"port": 80})), &draining), None, "it is not checked");
    }

    #[test]
    fn a_proxy_that_comes_back_stays_ready() {
        let plain = || dataplane(json!({"port": 80, "serviceProbe": {"tcp": {}}}));
        let good = report(&[("localhost:80", HealthStatus::Healthy)]);
        let ready = after_report(&brought(plain(), None), &good).unwrap();
        assert_eq!(brought(plain(), Some(&ready)), ready);
    }
}
