//! MeshTrace: where spans of requests go.
//! Resource: Kuma `MeshTrace`. Touches: HttpConnectionManager.tracing of inbounds, outbounds and zone
//! proxies; adds the collector's cluster.

mod collector;

use model::kinds::int_or_string::IntOrString;
use model::kinds::mesh_trace::{Conf, Sampling, Tag};
use model::registry;

use super::{Edit, Policy, ProxyTraits};
use crate::envoy::BoolValue;
use crate::envoy::hcm::HttpConnectionManager;
use crate::envoy::hcm::http_connection_manager::Tracing;
use crate::envoy::types::Percent;
use crate::resource_set::Origin;
use collector::Tracer;
use envoy_types::pb::envoy::r#type::tracing::v3::{CustomTag, custom_tag};

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_TRACE, edit };

fn edit(edit: &mut Edit<'_>) {
    let Some(rules) = &edit.rules.proxy else { return };
    let Some(conf) = edit.faults.read::<Conf>(&rules.conf, rules.origin.last()) else { return };
    let Some(backend) = conf.backends.as_ref().and_then(|backends| backends.first()) else { return };
    let tracer = match Tracer::of(backend, edit.proxy) {
        Ok(Some(tracer)) => tracer,
        Ok(None) => return,
        Err(why) => return edit.faults.blame(rules.origin.last(), &why),
    };
    let service = service_name(edit.proxy);
    for listener in edit.set.listeners.values_mut() {
        let suffix = match (listener.origin, &listener.destination) {
            (Origin::Inbound, _) => "_INBOUND".to_owned(),
            (Origin::Outbound, Some(destination)) if destination.kind != registry::MESH_EXTERNAL_SERVICE => {
                format!("_OUTBOUND_{destination}")
            }
            (Origin::Ingress | Origin::Egress, _) => String::new(),
            _ => continue,
        };
        for hcm in listener.hcms_mut() {
            trace(hcm, &conf, &tracer, &service, &suffix, edit.proxy);
        }
    }
    // Also where nothing is traced yet: Kuma's proxies have it as soon as the policy selects them.
    edit.set.add_cluster(tracer.cluster);
}

fn trace(
    hcm: &mut HttpConnectionManager,
    conf: &Conf,
    tracer: &Tracer,
    service: &str,
    suffix: &str,
    proxy: &ProxyTraits<'_>,
) {
    let none = Sampling::default();
    let sampling = conf.sampling.as_ref().unwrap_or(&none);
    let percent = |share: &Option<IntOrString>| share.as_ref()?.as_decimal().map(|value| Percent { value });
    hcm.tracing = Some(Tracing {
        overall_sampling: percent(&sampling.overall),
        client_sampling: percent(&sampling.client),
        random_sampling: percent(&sampling.random),
        custom_tags: tags(conf.tags.as_deref().unwrap_or_default(), proxy),
        provider: Some(tracer.provider(service, suffix)),
        spawn_upstream_span: Some(BoolValue { value: false }),
        ..Default::default()
    });
}

/// The tags of the conf, then those that every span has.
fn tags(stated: &[Tag], proxy: &ProxyTraits<'_>) -> Vec<CustomTag> {
    let literal = |tag: &str, value: &str| CustomTag {
        tag: tag.to_owned(),
        r#type: Some(custom_tag::Type::Literal(custom_tag::Literal { value: value.to_owned() })),
    };
    let own = stated.iter().filter_map(|tag| match (&tag.literal, &tag.header) {
        (Some(value), _) => Some(literal(&tag.name, value)),
        (None, Some(header)) => Some(CustomTag {
            tag: tag.name.clone(),
            r#type: Some(custom_tag::Type::RequestHeader(custom_tag::Header {
                name: header.name.clone(),
                default_value: header.default.clone().unwrap_or_default(),
            })),
        }),
        (None, None) => None,
    });
    let workload = proxy.workload_kri();
    let kumas = [("kuma.mesh", proxy.mesh), ("kuma.zone", proxy.zone), ("kuma.workload", &*workload)];
    let missing = |(tag, value): &&(&str, &str)| !value.is_empty() && stated.iter().all(|own| own.name != *tag);
    own.chain(kumas.iter().filter(missing).map(|(tag, value)| literal(tag, value))).collect()
}

fn service_name(proxy: &ProxyTraits<'_>) -> String {
    let is_zone_proxy_only = proxy.inbounds.is_empty() && !proxy.zone_listeners.is_empty();
    let fallback = if is_zone_proxy_only { proxy.name } else { "unknown" };
    proxy.workload().unwrap_or(fallback).to_owned()
}

#[cfg(test)]
mod tests;
