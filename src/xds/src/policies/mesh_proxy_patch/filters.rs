//! Changes of network filters and HTTP filters.

use model::kinds::mesh_proxy_patch::{FilterMod, Operation};

use super::patch::{Change, read};
use super::{is, listener_matches, unsupported};
use crate::envoy::hcm::HttpFilter;
use crate::envoy::listener::Filter;
use crate::resource_set::{ListenerResource, NetworkFilter, ResourceSet};

/// Changes the network filters of every chain of the listeners that match.
pub(super) fn modify_network(conf: &FilterMod, set: &mut ResourceSet) -> Result<(), String> {
    for listener in matching(conf, set) {
        for chain in &mut listener.chains {
            let mut filters: Vec<Filter> =
                std::mem::take(&mut chain.filters).into_iter().map(NetworkFilter::pack).collect();
            let outcome = modify(conf, &mut filters, |filter| &filter.name);
            chain.filters = filters.into_iter().map(NetworkFilter::unpack).collect();
            outcome?;
        }
    }
    Ok(())
}

/// Changes the HTTP filters of every connection manager of the listeners that match.
pub(super) fn modify_http(conf: &FilterMod, set: &mut ResourceSet) -> Result<(), String> {
    for listener in matching(conf, set) {
        for hcm in listener.hcms_mut() {
            modify(conf, &mut hcm.http_filters, |filter: &HttpFilter| &filter.name)?;
        }
    }
    Ok(())
}

fn matching<'a>(conf: &'a FilterMod, set: &'a mut ResourceSet) -> impl Iterator<Item = &'a mut ListenerResource> {
    set.listeners.values_mut().filter(|listener| listener_matches(conf.matched.as_ref(), listener))
}

fn modify<T>(conf: &FilterMod, filters: &mut Vec<T>, name_of: fn(&T) -> &String) -> Result<(), String>
where
    T: prost::Message + prost::Name + Default,
{
    let change = Change { value: conf.value.as_deref(), json_patches: conf.json_patches.as_deref() };
    let name = conf.matched.as_ref().and_then(|matched| matched.name.as_deref());
    let matches = |filter: &T| is(name, name_of(filter));
    let position = |filters: &[T]| filters.iter().position(&matches);
    match &conf.operation {
        Operation::AddFirst => filters.insert(0, read(change.value)?),
        Operation::AddLast => filters.push(read(change.value)?),
        Operation::AddBefore => {
            if let Some(at) = position(filters) {
                filters.insert(at, read(change.value)?);
            }
        }
        Operation::AddAfter => {
            if let Some(at) = position(filters) {
                filters.insert(at + 1, read(change.value)?);
            }
        }
        Operation::Remove => filters.retain(|filter| !matches(filter)),
        Operation::Patch => {
            for filter in filters.iter_mut().filter(|filter| matches(filter)) {
                *filter = change.apply_to_config(filter)?;
            }
        }
        other @ (Operation::Add | Operation::Unknown(_)) => return unsupported(other),
    }
    Ok(())
}
