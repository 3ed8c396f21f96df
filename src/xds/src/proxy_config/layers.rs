//! The resources of one type in layers: what many proxies have in common is one list that all of them
//! refer to, and what is a proxy's own lies beside it. Nothing is copied to put a configuration
//! together, and what differs between two is found without a look at what both share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Entry;

/// A list of resources of one type, ordered by name, each name once. Never changed; cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Layer(pub(crate) Arc<[Entry]>);

impl Layer {
    /// Its resources, ordered by name.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// The resource of this name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        let at = self.0.binary_search_by(|entry| (*entry.resource.name).cmp(name)).ok()?;
        self.0.get(at)
    }

    /// Whether both are one list, or empty: known without a look at resources.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.is_empty() && other.0.is_empty())
    }

    /// Becomes `former` when both say the same, so that this is known without a look from then on.
    fn reuse(&mut self, former: &Self) {
        if !self.is_same(former) && self.0 == former.0 {
            self.clone_from(former);
        }
    }

    /// Calls `differs` with each name that only one of both has, or that they have in other versions.
    fn compare<'a>(&'a self, other: &'a Self, mut differs: impl FnMut(&'a Arc<str>)) {
        if self.is_same(other) {
            return;
        }
        let (mut ours, mut theirs) = (&*self.0, &*other.0);
        loop {
            match (ours.split_first(), theirs.split_first()) {
                (Some((a, after_a)), Some((b, after_b))) => {
                    let (name, other_name) = (&a.resource.name, &b.resource.name);
                    // Most are shared, and need no look at their names.
                    if Arc::ptr_eq(&a.resource, &b.resource) || name == other_name {
                        if a.version != b.version {
                            differs(name);
                        }
                        (ours, theirs) = (after_a, after_b);
                    } else if name < other_name {
                        differs(name);
                        ours = after_a;
                    } else {
                        differs(other_name);
                        theirs = after_b;
                    }
                }
                (Some((one, rest)), None) => {
                    differs(&one.resource.name);
                    ours = rest;
                }
                (None, Some((one, rest))) => {
                    differs(&one.resource.name);
                    theirs = rest;
                }
                (None, None) => return,
            }
        }
    }
}

/// Of a name that comes twice the later resource counts.
impl FromIterator<Entry> for Layer {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let by_name: BTreeMap<_, _> = entries.into_iter().map(|e| (Arc::clone(&e.resource.name), e)).collect();
        if by_name.is_empty() { Self::default() } else { Self(by_name.into_values().collect()) }
    }
}

/// How many layers a configuration has.
pub const LAYERS: usize = 5;

/// All resources of one type of a proxy. Where layers have a name in common the first of them counts.
#[derive(Clone, Default)]
pub struct TypeConfig([Layer; LAYERS]);

impl TypeConfig {
    /// The resources of these layers.
    pub fn new(layers: [Layer; LAYERS]) -> Self {
        Self(layers)
    }

    /// The resource of this name.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.0.iter().find_map(|layer| layer.get(name))
    }

    /// All resources, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        let last_first = self.0.iter().rev().flat_map(|layer| &*layer.0);
        last_first.map(|entry| (&entry.resource.name, entry)).collect::<BTreeMap<_, _>>().into_values()
    }

    /// The same with the layers of `former` where both say the same.
    #[must_use]
    pub(crate) fn or_same(self, former: &Self) -> Self {
        let mut layers = self.0;
        for (layer, former) in layers.iter_mut().zip(&former.0) {
            layer.reuse(former);
        }
        Self(layers)
    }

    /// Whether there is no resource.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|layer| layer.0.is_empty())
    }

    /// Whether both consist of the same lists: known without a look at resources.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a.is_same(b))
    }

    /// The names, in order, that only one of both has or that they have in other versions.
    pub fn differences<'a>(&'a self, other: &'a Self) -> Vec<&'a Arc<str>> {
        let mut names = Vec::new();
        for (ours, theirs) in self.0.iter().zip(&other.0) {
            ours.compare(theirs, |name| names.push(name));
        }
        names.sort();
        names.dedup();
        let version = |config: &Self, name: &str| config.get(name).map(|entry| entry.version);
        // A resource may have moved from one layer to another.
        names.retain(|name| version(self, name) != version(other, name));
        names
    }
}

impl PartialEq for TypeConfig {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.iter().eq(other.iter())
    }
}

impl Eq for TypeConfig {}

impl fmt::Debug for TypeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Everything in one layer.
impl FromIterator<Entry> for TypeConfig {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut layers = <[Layer; LAYERS]>::default();
        layers[0] = entries.into_iter().collect();
        Self(layers)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::proxy_config::{ContentHash, EncodedResource, ResourceType};

    fn entry(name: u8, version: u64) -> Entry {
        let name = format!("n{name}").into();
        let resource =
            EncodedResource { ty: ResourceType::Cluster, name, hash: ContentHash(version), body: Bytes::new() };
        Entry { resource: Arc::new(resource), version: ContentHash(version) }
    }

    fn layer() -> impl Strategy<Value = Layer> {
        let entries = prop::collection::btree_map(0..12_u8, 0..3_u64, 0..8);
        entries.prop_map(|entries| entries.into_iter().map(|(name, version)| entry(name, version)).collect())
    }

    fn config() -> impl Strategy<Value = TypeConfig> {
        [layer(), layer(), layer(), layer(), layer()].prop_map(TypeConfig::new)
    }

    /// What a map, filled layer by layer, has.
    fn flat(config: &TypeConfig) -> BTreeMap<Arc<str>, ContentHash> {
        let mut all = BTreeMap::new();
        for entry in config.0.iter().flat_map(Layer::entries) {
            all.entry(Arc::clone(&entry.resource.name)).or_insert(entry.version);
        }
        all
    }

    proptest! {
        #[test]
        fn layers_are_as_one_map(config in config()) {
            let flat = flat(&config);
            let listed: Vec<_> = config.iter().map(|e| (Arc::clone(&e.resource.name), e.version)).collect();
            prop_assert_eq!(listed, flat.clone().into_iter().collect::<Vec<_>>());
            for name in (0..12_u8).map(|n| format!("n{n}")) {
                prop_assert_eq!(config.get(&name).map(|e| e.version), flat.get(&*name).copied());
            }
            prop_assert_eq!(config.is_empty(), flat.is_empty());
        }

        #[test]
        fn differences_are_those_of_maps(a in config(), b in config(), shares in any::<[bool; LAYERS]>()) {
            let mut b = b;
            for (at, shares) in shares.into_iter().enumerate() {
                if shares {
                    b.0[at] = a.0[at].clone();
                }
            }
            let (in_a, in_b) = (flat(&a), flat(&b));
            let names: std::collections::BTreeSet<_> = in_a.keys().chain(in_b.keys()).collect();
            let expected: Vec<_> = names.into_iter().filter(|n| in_a.get(*n) != in_b.get(*n)).collect();
            prop_assert_eq!(a.differences(&b), expected);
            prop_assert_eq!(a == b, in_a == in_b);
        }
    }

    #[test]
    fn of_a_name_that_comes_twice_the_later_counts() {
        let layer: Layer = [entry(2, 1), entry(1, 1), entry(2, 7)].into_iter().collect();
        let versions: Vec<_> = layer.entries().iter().map(|e| (&*e.resource.name, e.version.0)).collect();
        assert_eq!(versions, [("n1", 1), ("n2", 7)]);
    }
}
