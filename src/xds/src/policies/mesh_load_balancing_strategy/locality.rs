//! Endpoints grouped by how near they are: nodes, racks, zones.

use std::collections::BTreeMap;

use super::super::ProxyTraits;
use super::conf::{AffinityTag, Failover, LocalityAwareness, ToZoneType};
use crate::envoy::UInt32Value;
use crate::envoy::core::{Locality, address, socket_address};
use crate::envoy::endpoint::{
    ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints, cluster_load_assignment::Policy,
    lb_endpoint::HostIdentifier,
};
use crate::envoy::value;
use crate::resource_set::EndpointsResource;

/// Envoy's metadata namespace of the tags that load balancing sees.
const LB_METADATA: &str = "envoy.lb";
const ZONE_TAG: &str = "kuma.io/zone";
/// With it other zones get traffic when fewer than half of the local endpoints are healthy.
const DEFAULT_OVERPROVISIONING: u32 = 200;

/// Puts other zones behind the own one, or all of them on a level. Shared endpoints are copied only
/// when something changes.
pub(super) fn prefer_zone(endpoints: &mut EndpointsResource, zone: &str, prefer_local: bool) {
    let priority = |group: &LocalityLbEndpoints| match &group.locality {
        Some(locality) if locality.zone != zone => Some(u32::from(prefer_local)),
        Some(_) | None => None,
    };
    let wrong = |group: &LocalityLbEndpoints| priority(group).is_some_and(|wanted| wanted != group.priority);
    if endpoints.endpoints.endpoints.iter().any(wrong) {
        for group in &mut endpoints.edit().endpoints {
            group.priority = priority(group).unwrap_or(group.priority);
        }
    }
}

/// Where an endpoint goes, in the order of the result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    zone: String,
    sub_zone: String,
    priority: u32,
    weight: Option<u32>,
}

/// The endpoints grouped as the conf asks. Endpoints of zones that no failover names are left out.
pub(super) fn rebuild(
    endpoints: &ClusterLoadAssignment,
    conf: &LocalityAwareness,
    proxy: &ProxyTraits<'_>,
) -> ClusterLoadAssignment {
    let tags = conf.local_zone.as_ref().map(|local| local.affinity_tags.as_slice()).unwrap_or_default();
    let failover = conf.cross_zone.as_ref().map(|cross| cross.failover.as_slice()).unwrap_or_default();
    let mut places: BTreeMap<Place, Vec<LbEndpoint>> = BTreeMap::new();
    for endpoint in endpoints.endpoints.iter().flat_map(|group| &group.lb_endpoints) {
        let zone = tag_of(endpoint, ZONE_TAG).unwrap_or_default();
        let place = if zone == proxy.zone {
            Some(local_place(endpoint, zone, tags, proxy))
        } else {
            failover_priority(failover, proxy.zone, zone).map(|priority| Place {
                zone: zone.to_owned(),
                sub_zone: String::new(),
                priority,
                weight: None,
            })
        };
        if let Some(place) = place {
            places.entry(place).or_default().push(endpoint.clone());
        }
    }
    let group = |(place, mut members): (Place, Vec<LbEndpoint>)| {
        members.sort_by_cached_key(address_of);
        LocalityLbEndpoints {
            locality: Some(Locality { zone: place.zone, sub_zone: place.sub_zone, ..Default::default() }),
            priority: place.priority,
            load_balancing_weight: place.weight.map(|value| UInt32Value { value }),
            lb_endpoints: members,
            ..Default::default()
        }
    };
    let mut policy = endpoints.policy.clone().unwrap_or_default();
    policy.overprovisioning_factor = Some(UInt32Value { value: overprovisioning(conf) });
    ClusterLoadAssignment {
        cluster_name: endpoints.cluster_name.clone(),
        endpoints: places.into_iter().map(group).collect(),
        policy: Some::<Policy>(policy),
        ..Default::default()
    }
}

fn local_place(endpoint: &LbEndpoint, zone: &str, tags: &[AffinityTag], proxy: &ProxyTraits<'_>) -> Place {
    let near = tags.iter().enumerate().find_map(|(i, tag)| {
        let own = proxy.gateway_tags.get(&tag.key).or_else(|| proxy.labels.get(&tag.key))?;
        let weight = tag.weight.unwrap_or_else(|| default_weight(tags.len(), i));
        (tag_of(endpoint, &tag.key) == Some(own)).then(|| (format!("{}={own}", tag.key), weight))
    });
    let (sub_zone, weight) = near.unwrap_or((String::new(), 1));
    Place { zone: zone.to_owned(), sub_zone, priority: 0, weight: Some(weight) }
}

/// 9, 90, 900 … from the last tag to the first: each takes nine tenths of what is left.
pub(super) fn default_weight(count: usize, index: usize) -> u32 {
    let exponent = u32::try_from(count - 1 - index).unwrap_or(u32::MAX);
    10_u32.saturating_pow(exponent).saturating_mul(9)
}

/// The priority of another zone: that of the first failover that accepts it.
fn failover_priority(failover: &[Failover], own: &str, zone: &str) -> Option<u32> {
    (1..).zip(failover).find_map(|(priority, entry)| {
        let applies = entry.from.as_ref().is_none_or(|from| from.zones.iter().any(|name| name == own));
        let named = entry.to.zones.iter().any(|name| name == zone);
        let accepts = match entry.to.kind {
            ToZoneType::None => false,
            ToZoneType::Only => named,
            ToZoneType::Any => true,
            ToZoneType::AnyExcept => !named,
        };
        (applies && accepts).then_some(priority)
    })
}

/// Envoy's factor, in percent, for "other zones get traffic when fewer than this share is healthy".
fn overprovisioning(conf: &LocalityAwareness) -> u32 {
    let threshold = conf.cross_zone.as_ref().and_then(|cross| cross.failover_threshold.as_ref());
    let percentage = threshold.and_then(|threshold| threshold.percentage.as_decimal());
    match percentage {
        // The casts truncate, as Kuma does, before the factor becomes a percentage.
        Some(percentage) if percentage > 0.0 => ((100.0 / percentage) as u32).saturating_mul(100),
        Some(_) | None => DEFAULT_OVERPROVISIONING,
    }
}

fn tag_of<'a>(endpoint: &'a LbEndpoint, key: &str) -> Option<&'a str> {
    let tags = endpoint.metadata.as_ref()?.filter_metadata.get(LB_METADATA)?;
    match &tags.fields.get(key)?.kind {
        Some(value::Kind::StringValue(text)) => Some(text),
        _ => None,
    }
}

fn address_of(endpoint: &LbEndpoint) -> (String, u32) {
    let Some(HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier else { return Default::default() };
    match endpoint.address.as_ref().and_then(|address| address.address.as_ref()) {
        Some(address::Address::SocketAddress(socket)) => {
            let port = match socket.port_specifier {
                Some(socket_address::PortSpecifier::PortValue(port)) => port,
                Some(socket_address::PortSpecifier::NamedPort(_)) | None => 0,
            };
            (socket.address.clone(), port)
        }
        Some(_) | None => Default::default(),
    }
}
