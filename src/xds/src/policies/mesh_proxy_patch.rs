//! MeshProxyPatch: changes of the Envoy configuration by its users, after all other policies.
//! Resource: Kuma `MeshProxyPatch`. Touches: any cluster, listener, filter or virtual host.
//!
//! A modification that cannot be applied is reported and left out; the others are in force.

mod filters;
mod patch;

use std::collections::BTreeMap;

use model::kinds::mesh_proxy_patch::{
    ClusterMod, Conf, FilterMatch, ListenerMod, Modification, Operation, VirtualHostMod,
};
use model::registry;

use super::{Edit, Policy};
use crate::envoy::cluster::Cluster;
use crate::envoy::listener::Listener;
use crate::envoy::route::VirtualHost;
use crate::envoy::value;
use crate::protocol::Protocol;
use crate::resource_set::{ClusterResource, ListenerResource, Origin, ResourceSet, route_config_mut};
use patch::{Change, read};

pub(super) const POLICY: Policy = Policy { kind: registry::MESH_PROXY_PATCH, edit };

/// Where Envoy keeps the tags of a listener.
const TAGS_NAMESPACE: &str = "io.kuma.tags";

fn edit(edit: &mut Edit<'_>) {
    let Some(rules) = &edit.rules.proxy else { return };
    let Some(conf) = edit.faults.read::<Conf>(&rules.conf, rules.origin.last()) else { return };
    for (i, modification) in conf.append_modifications.iter().flatten().enumerate() {
        if let Err(why) = modify(modification, edit.set) {
            edit.faults.blame(rules.origin.last(), &format!("could not apply {i} modification: {why}"));
        }
    }
}

fn modify(modification: &Modification, set: &mut ResourceSet) -> Result<(), String> {
    if let Some(cluster) = &modification.cluster {
        modify_clusters(cluster, set)?;
    }
    if let Some(listener) = &modification.listener {
        modify_listeners(listener, set)?;
    }
    if let Some(filter) = &modification.network_filter {
        filters::modify_network(filter, set)?;
    }
    if let Some(filter) = &modification.http_filter {
        filters::modify_http(filter, set)?;
    }
    if let Some(host) = &modification.virtual_host {
        modify_virtual_hosts(host, set)?;
    }
    Ok(())
}

/// Whether a wanted text is not stated, or is this one.
fn is(wanted: Option<&str>, actual: &str) -> bool {
    wanted.is_none_or(|wanted| wanted.is_empty() || wanted == actual)
}

fn unsupported<T>(operation: &Operation) -> Result<T, String> {
    Err(format!("operation {operation} is not supported here"))
}

fn modify_clusters(conf: &ClusterMod, set: &mut ResourceSet) -> Result<(), String> {
    let change = Change { value: conf.value.as_deref(), json_patches: conf.json_patches.as_deref() };
    let matched = conf.matched.as_ref();
    let matches = |cluster: &ClusterResource| {
        is(matched.and_then(|m| m.origin.as_deref()), cluster.origin.as_str())
            && is(matched.and_then(|m| m.name.as_deref()), cluster.name())
    };
    match &conf.operation {
        Operation::Add => {
            let cluster: Cluster = read(change.value)?;
            set.add_cluster(ClusterResource::new(Origin::ProxyTemplateModifications, cluster));
        }
        Operation::Remove => set.clusters.retain(|_, cluster| !matches(cluster)),
        Operation::Patch => {
            let names: Vec<_> = set.clusters.values().filter(|c| matches(c)).map(|c| c.name().to_owned()).collect();
            for name in names {
                let Some(cluster) = set.clusters.get(&name).cloned() else { continue };
                let (origin, destination, protocol) = (cluster.origin, cluster.destination.clone(), cluster.protocol);
                let patched = change.apply(&cluster.pack())?;
                set.clusters.remove(&name);
                set.add_cluster(ClusterResource::unpack(origin, destination, protocol, patched));
            }
        }
        other => return unsupported(other),
    }
    Ok(())
}

fn modify_listeners(conf: &ListenerMod, set: &mut ResourceSet) -> Result<(), String> {
    let change = Change { value: conf.value.as_deref(), json_patches: conf.json_patches.as_deref() };
    let wanted = conf.matched.as_ref().map(|m| FilterMatch {
        origin: m.origin.clone(),
        name: None,
        listener_name: m.name.clone(),
        listener_tags: m.tags.clone(),
    });
    let matches = |listener: &ListenerResource| listener_matches(wanted.as_ref(), listener);
    match &conf.operation {
        Operation::Add => {
            let listener: Listener = read(change.value)?;
            set.add_listener(ListenerResource::unpack(Origin::MeshProxyPatch, None, Protocol::default(), listener));
        }
        Operation::Remove => set.listeners.retain(|_, listener| !matches(listener)),
        Operation::Patch => {
            let names: Vec<_> = set.listeners.values().filter(|l| matches(l)).map(|l| l.name().to_owned()).collect();
            for name in names {
                let Some(listener) = set.listeners.get(&name).cloned() else { continue };
                let (origin, destination, protocol) =
                    (listener.origin, listener.destination.clone(), listener.protocol);
                let patched = change.apply(&listener.pack())?;
                set.listeners.remove(&name);
                set.add_listener(ListenerResource::unpack(origin, destination, protocol, patched));
            }
        }
        other => return unsupported(other),
    }
    Ok(())
}

fn modify_virtual_hosts(conf: &VirtualHostMod, set: &mut ResourceSet) -> Result<(), String> {
    let change = Change { value: conf.value.as_deref(), json_patches: conf.json_patches.as_deref() };
    let matched = &conf.matched;
    let matches = |host: &VirtualHost| is(matched.name.as_deref(), &host.name);
    let listeners = set.listeners.values_mut().filter(|l| is(matched.origin.as_deref(), l.origin.as_str()));
    for config in listeners.flat_map(ListenerResource::hcms_mut).filter_map(route_config_mut) {
        if !is(matched.route_configuration_name.as_deref(), &config.name) {
            continue;
        }
        match &conf.operation {
            Operation::Add => config.virtual_hosts.push(read(change.value)?),
            Operation::Remove => config.virtual_hosts.retain(|host| !matches(host)),
            Operation::Patch => {
                for host in config.virtual_hosts.iter_mut().filter(|host| matches(host)) {
                    *host = change.apply(host)?;
                }
            }
            other => return unsupported(other),
        }
    }
    Ok(())
}

/// Whether a listener has the stated origin, name and tags.
fn listener_matches(wanted: Option<&FilterMatch>, listener: &ListenerResource) -> bool {
    let Some(wanted) = wanted else { return true };
    let names = wanted.listener_name.as_deref().map(current_name);
    is(wanted.origin.as_deref(), listener.origin.as_str())
        && is(names.as_deref(), listener.name())
        && wanted.listener_tags.as_ref().is_none_or(|tags| has_tags(listener, tags))
}

/// The passthrough listeners once had other names, which patches may still use.
fn current_name(name: &str) -> String {
    match name {
        "outbound:passthrough:ipv4" => crate::names::passthrough_outbound(4),
        "outbound:passthrough:ipv6" => crate::names::passthrough_outbound(6),
        "inbound:passthrough:ipv4" => crate::names::passthrough_inbound(4),
        "inbound:passthrough:ipv6" => crate::names::passthrough_inbound(6),
        other => other.to_owned(),
    }
}

fn has_tags(listener: &ListenerResource, tags: &BTreeMap<String, String>) -> bool {
    let metadata = listener.listener.metadata.as_ref();
    let fields = metadata.and_then(|metadata| metadata.filter_metadata.get(TAGS_NAMESPACE));
    tags.iter().all(|(key, wanted)| {
        let actual = fields.and_then(|tags| tags.fields.get(key)).and_then(|value| value.kind.as_ref());
        matches!(actual, Some(value::Kind::StringValue(text)) if wanted == "*" || wanted == text)
    })
}

#[cfg(test)]
mod tests;
