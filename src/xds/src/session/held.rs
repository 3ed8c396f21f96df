//! What a proxy has of one type: a configuration, shared with whoever runs the same, and what differs
//! from it. Once all was sent nothing differs, and who has everything is no more than a reference.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::proxy_config::{ContentHash, TypeConfig};

/// The version of a resource that the proxy has; `None` when it is not known which.
pub(super) type Version = Option<ContentHash>;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    base: TypeConfig,
    /// What the proxy has instead; the outer `None`: it does not have it.
    except: BTreeMap<Arc<str>, Option<Version>>,
}

impl Held {
    /// What it has of a resource; the outer `None` when it does not have it.
    pub(super) fn get(&self, name: &str) -> Option<Version> {
        match self.except.get(name) {
            Some(has) => *has,
            None => self.in_base(name),
        }
    }

    fn in_base(&self, name: &str) -> Option<Version> {
        self.base.get(name).map(|entry| Some(entry.version))
    }

    /// Notes what it has of a resource; the outer `None`: it does not have it any more.
    pub(super) fn set(&mut self, name: &Arc<str>, has: Option<Version>) {
        if has == self.in_base(name) {
            self.except.remove(name);
        } else {
            self.except.insert(Arc::clone(name), has);
        }
    }

    /// Notes that it has these resources and no others.
    pub(super) fn replace(&mut self, has: &BTreeMap<Arc<str>, Version>) {
        self.except = self.base.iter().map(|entry| (Arc::clone(&entry.resource.name), None)).collect();
        for (name, version) in has {
            self.set(name, Some(*version));
        }
    }

    /// Notes that it no longer has what `keeps` says no to.
    pub(super) fn retain(&mut self, keeps: impl Fn(&str) -> bool) {
        for entry in self.base.iter().filter(|entry| !keeps(&entry.resource.name)) {
            self.except.insert(Arc::clone(&entry.resource.name), None);
        }
        self.except.retain(|name, has| keeps(name) || self.base.get(name).is_some_and(|_| has.is_none()));
    }

    /// Says the same, as differences from `config`.
    pub(super) fn compare_with(&mut self, config: &TypeConfig) {
        let versions = |name: &Arc<str>| (self.get(name), config.get(name).map(|entry| Some(entry.version)));
        let names = config.differences(&self.base).into_iter().chain(self.except.keys());
        let differs = |name: &Arc<str>| {
            let (has, wanted) = versions(name);
            (has != wanted).then(|| (Arc::clone(name), has))
        };
        let except = names.filter_map(differs).collect();
        *self = Self { base: config.clone(), except };
    }

    /// Where it differs from the configuration that it was last compared with: names in order, and what
    /// the proxy has.
    pub(super) fn differences(&self) -> &BTreeMap<Arc<str>, Option<Version>> {
        &self.except
    }

    /// The copy of a name that others have as well, if there is one.
    pub(super) fn shared_name(&self, name: &Arc<str>) -> Arc<str> {
        Arc::clone(self.base.get(name).map_or(name, |entry| &entry.resource.name))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::proxy_config::{EncodedResource, Entry, ResourceType};

    fn entry((name, version): (u8, u64)) -> Entry {
        let resource = EncodedResource {
            ty: ResourceType::Cluster,
            name: format!("n{name}").into(),
            hash: ContentHash(version),
            body: Bytes::new(),
        };
        Entry { resource: Arc::new(resource), version: ContentHash(version) }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Compare(BTreeMap<u8, u64>),
        Set(u8, Option<Option<u64>>),
        Replace(BTreeMap<u8, Option<u64>>),
        Retain(Vec<u8>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let version = || 0..3_u64;
        prop_oneof![
            prop::collection::btree_map(0..6_u8, version(), 0..6).prop_map(Step::Compare),
            (0..6_u8, prop::option::of(prop::option::of(version()))).prop_map(|(n, has)| Step::Set(n, has)),
            prop::collection::btree_map(0..6_u8, prop::option::of(version()), 0..6).prop_map(Step::Replace),
            prop::collection::vec(0..6_u8, 0..6).prop_map(Step::Retain),
        ]
    }

    fn name(n: u8) -> Arc<str> {
        format!("n{n}").into()
    }

    proptest! {
        #[test]
        fn it_says_what_a_map_would(steps in prop::collection::vec(step(), 0..30)) {
            let (mut held, mut map) = (Held::default(), BTreeMap::<Arc<str>, Version>::new());
            let mut config = TypeConfig::default();
            for step in steps {
                match step {
                    Step::Compare(entries) => {
                        config = entries.into_iter().map(entry).collect();
                        held.compare_with(&config);
                    }
                    Step::Set(n, has) => {
                        let has = has.map(|version| version.map(ContentHash));
                        held.set(&name(n), has);
                        match has {
                            Some(version) => drop(map.insert(name(n), version)),
                            None => drop(map.remove(&name(n))),
                        }
                    }
                    Step::Replace(has) => {
                        map = has.into_iter().map(|(n, version)| (name(n), version.map(ContentHash))).collect();
                        held.replace(&map);
                    }
                    Step::Retain(kept) => {
                        let kept: Vec<_> = kept.into_iter().map(name).collect();
                        held.retain(|name| kept.iter().any(|kept| **kept == *name));
                        map.retain(|name, _| kept.contains(name));
                    }
                }
                for n in (0..6).map(name) {
                    let (has, wanted) = (map.get(&n).copied(), config.get(&n).map(|e| Some(e.version)));
                    prop_assert_eq!(held.get(&n), has);
                    prop_assert_eq!(held.differences().get(&n).copied(), (has != wanted).then_some(has), "{}", n);
                }
            }
        }
    }
}
