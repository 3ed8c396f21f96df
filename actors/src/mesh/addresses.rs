//! Host names in the addresses of dataplanes and zone addresses. Envoy is told IP addresses only, so
//! names are looked up here, before the picture of the mesh is made.
//!
//! A resource whose name was never found counts as absent; one whose name is not found any more keeps
//! the address that it had.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use model::kinds::dataplane::Dataplane;
use model::kinds::mesh_zone_address::MeshZoneAddress;
use model::{Change, Key, Resource, Spec, registry};

/// What a lookup found: the address, or nothing.
pub(super) type Found = (Arc<str>, Option<IpAddr>);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// The last address of each name.
    known: BTreeMap<Arc<str>, IpAddr>,
    /// Names that were looked up at least once.
    asked: BTreeSet<Arc<str>>,
    /// The resources that have a name, as stored.
    named: BTreeMap<Key, Arc<Resource>>,
}

impl Addresses {
    /// The names in use.
    pub(super) fn names(&self) -> BTreeSet<Arc<str>> {
        self.named.values().filter_map(|resource| name_of(resource)).map(Arc::from).collect()
    }

    /// The names in use that were never looked up; from now on they count as looked up.
    pub(super) fn take_new(&mut self) -> BTreeSet<Arc<str>> {
        if self.named.is_empty() {
            return BTreeSet::new();
        }
        let names = self.names();
        let new = names.difference(&self.asked).cloned().collect();
        self.asked = names;
        new
    }

    /// Starts anew with these resources.
    pub(super) fn begin<'a>(&mut self, resources: impl Iterator<Item = &'a Arc<Resource>>) {
        let named = resources.filter(|resource| name_of(resource).is_some());
        self.named = named.map(|resource| (resource.key.clone(), Arc::clone(resource))).collect();
    }

    /// The resource with an IP address; `None` when its name was never found.
    pub(super) fn resolved(&self, resource: &Arc<Resource>) -> Option<Arc<Resource>> {
        match name_of(resource) {
            None => Some(Arc::clone(resource)),
            Some(name) => self.known.get(name).and_then(|ip| with_address(resource, ip)).map(Arc::new),
        }
    }

    /// The changes with IP addresses in place of names; `None` when there is no name in them.
    pub(super) fn translated(&mut self, changes: &[Change]) -> Option<Vec<Change>> {
        let has_name = |change: &Change| change.after.as_deref().and_then(name_of).is_some();
        if !changes.iter().any(|change| has_name(change) || self.named.contains_key(&change.key)) {
            return None;
        }
        for change in changes {
            match change.after.as_ref().filter(|_| has_name(change)) {
                Some(after) => self.named.insert(change.key.clone(), Arc::clone(after)),
                None => self.named.remove(&change.key),
            };
        }
        let translated = |change: &Change| Change {
            after: change.after.as_ref().and_then(|after| self.resolved(after)),
            ..change.clone()
        };
        Some(changes.iter().map(translated).collect())
    }

    /// Takes what was found; the resources that have another address now.
    pub(super) fn learn(&mut self, found: &[Found]) -> Vec<Change> {
        let mut moved = BTreeSet::new();
        for (name, ip) in found {
            let Some(ip) = ip else {
                tracing::warn!(name = &**name, "the address of a dataplane or zone is not found");
                continue;
            };
            if self.known.insert(Arc::clone(name), *ip) != Some(*ip) {
                moved.insert(&**name);
            }
        }
        let names = self.names();
        self.known.retain(|name, _| names.contains(name));
        let moved = self.named.values().filter(|resource| name_of(resource).is_some_and(|name| moved.contains(name)));
        moved
            .map(|resource| Change { key: resource.key.clone(), before: None, after: self.resolved(resource) })
            .collect()
    }
}

/// The host name that a resource has where proxies need an IP address.
fn name_of(resource: &Resource) -> Option<&str> {
    let address = match resource.key.kind {
        kind if kind == registry::DATAPLANE => &resource.spec::<Dataplane>()?.networking.as_ref()?.address,
        kind if kind == registry::MESH_ZONE_ADDRESS => &resource.spec::<MeshZoneAddress>()?.address,
        _ => return None,
    };
    (!address.is_empty() && address.parse::<IpAddr>().is_err()).then_some(address)
}

fn with_address(resource: &Resource, ip: &IpAddr) -> Option<Resource> {
    let spec = if resource.key.kind == registry::DATAPLANE {
        let mut spec = resource.spec::<Dataplane>()?.clone();
        spec.networking.as_mut()?.address = ip.to_string();
        Spec::of(spec)
    } else {
        Spec::of(MeshZoneAddress { address: ip.to_string(), ..resource.spec::<MeshZoneAddress>()?.clone() })
    };
    Some(Resource { spec: spec.ok()?, ..resource.clone() })
}

#[cfg(test)]
mod tests {
    use model::Meta;
    use serde_json::json;

    use super::*;

    fn dataplane(name: &str, address: &str) -> Arc<Resource> {
        let spec = json!({"networking": {"address": address, "inbound": [{"port": 80}]}});
        let key = Key::new(registry::DATAPLANE, "default", name);
        let spec = key.kind.codec.admit(spec).unwrap();
        Arc::new(Resource { key, meta: Meta::new(model::Timestamp::UNIX_EPOCH), spec, status: None })
    }

    fn put(resource: &Arc<Resource>) -> Change {
        Change { key: resource.key.clone(), before: None, after: Some(Arc::clone(resource)) }
    }

    fn addresses(changes: &[Change]) -> Vec<Option<String>> {
        let address = |resource: &Arc<Resource>| resource.spec::<Dataplane>()?.networking.clone().map(|n| n.address);
        changes.iter().map(|change| change.after.as_ref().and_then(address)).collect()
    }

    #[test]
    fn names_are_replaced_when_they_are_found_and_keep_their_last_address() {
        let mut names = Addresses::default();
        let (numbered, named) = (dataplane("a", "10.0.0.1"), dataplane("b", "b.example"));
        assert_eq!(names.translated(&[put(&numbered)]), None, "nothing to do");

        let absent = names.translated(&[put(&numbered), put(&named)]).unwrap();
        assert_eq!(addresses(&absent), [Some("10.0.0.1".to_owned()), None]);
        assert_eq!(names.take_new(), BTreeSet::from(["b.example".into()]));
        assert!(names.take_new().is_empty(), "names are new once");

        let found = |ip: &str| [("b.example".into(), ip.parse().ok())];
        assert_eq!(addresses(&names.learn(&found("10.0.0.2"))), [Some("10.0.0.2".to_owned())]);
        assert!(names.learn(&found("10.0.0.2")).is_empty(), "the same again moves nobody");
        assert!(names.learn(&found("")).is_empty(), "a name that is not found keeps its address");
        assert_eq!(addresses(&names.translated(&[put(&named)]).unwrap()), [Some("10.0.0.2".to_owned())]);
        assert_eq!(addresses(&names.learn(&found("fd00::1"))), [Some("fd00::1".to_owned())]);

        let gone = Change { key: named.key.clone(), before: None, after: None };
        assert_eq!(addresses(&names.translated(&[gone]).unwrap()), [None]);
        assert!(names.names().is_empty());
        assert!(names.learn(&found("10.0.0.3")).is_empty());
    }
}
