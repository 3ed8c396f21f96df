//! Finds by labels without asking everyone.

use imbl::{OrdMap, OrdSet};
use model::Labels;

/// A label with its value.
type Pair = (String, String);

/// Things with labels, found by a selector: the cost is the size of the answer's rarest label.
#[derive(Clone, Debug)]
pub struct LabelIndex<K: Ord + Clone> {
    all: OrdSet<K>,
    by_pair: OrdMap<Pair, OrdSet<K>>,
}

impl<K: Ord + Clone> Default for LabelIndex<K> {
    fn default() -> Self {
        Self { all: OrdSet::new(), by_pair: OrdMap::new() }
    }
}

fn pair(label: (&String, &String)) -> Pair {
    (label.0.clone(), label.1.clone())
}

impl<K: Ord + Clone> LabelIndex<K> {
    /// Adds a thing with its labels.
    pub fn insert(&mut self, key: &K, labels: &Labels) {
        self.all.insert(key.clone());
        for label in labels {
            self.by_pair.entry(pair(label)).or_default().insert(key.clone());
        }
    }

    /// Removes a thing; `labels` are those that it was added with.
    pub fn remove(&mut self, key: &K, labels: &Labels) {
        self.all.remove(key);
        for label in labels {
            remove_from(&mut self.by_pair, &pair(label), key);
        }
    }

    /// All that have every wanted label; everything when none is wanted.
    pub fn select(&self, wanted: &Labels) -> OrdSet<K> {
        let mut sets = Vec::with_capacity(wanted.len());
        for label in wanted {
            match self.by_pair.get(&pair(label)) {
                Some(set) => sets.push(set),
                None => return OrdSet::new(),
            }
        }
        sets.sort_by_key(|set| set.len());
        let Some((rarest, others)) = sets.split_first() else { return self.all.clone() };
        if others.is_empty() {
            return (*rarest).clone();
        }
        rarest.iter().filter(|key| others.iter().all(|set| set.contains(*key))).cloned().collect()
    }
}

/// Selectors, found by the labels of what they may select: the cost is the number of selectors that
/// want one of these labels. The answer may hold selectors that want more than that.
#[derive(Clone, Debug)]
pub struct SelectorIndex<K: Ord + Clone> {
    unconditional: OrdSet<K>,
    by_pair: OrdMap<Pair, OrdSet<K>>,
}

impl<K: Ord + Clone> Default for SelectorIndex<K> {
    fn default() -> Self {
        Self { unconditional: OrdSet::new(), by_pair: OrdMap::new() }
    }
}

impl<K: Ord + Clone> SelectorIndex<K> {
    /// Adds a selector under the wanted label that the fewest others want.
    pub fn insert(&mut self, key: &K, wanted: &Labels) {
        let count = |label: &Pair| self.by_pair.get(label).map_or(0, OrdSet::len);
        match wanted.iter().map(pair).min_by_key(count) {
            Some(rarest) => self.by_pair.entry(rarest).or_default().insert(key.clone()),
            None => self.unconditional.insert(key.clone()),
        };
    }

    /// Removes a selector; `wanted` is what it was added with.
    pub fn remove(&mut self, key: &K, wanted: &Labels) {
        self.unconditional.remove(key);
        for label in wanted {
            remove_from(&mut self.by_pair, &pair(label), key);
        }
    }

    /// Every selector that may select something with these labels.
    pub fn candidates(&self, labels: &Labels) -> impl Iterator<Item = &K> {
        let conditional = labels.iter().filter_map(|label| self.by_pair.get(&pair(label))).flatten();
        self.unconditional.iter().chain(conditional)
    }
}

fn remove_from<P: Ord + Clone, K: Ord + Clone>(map: &mut OrdMap<P, OrdSet<K>>, at: &P, key: &K) {
    let Some(set) = map.get_mut(at) else { return };
    set.remove(key);
    if set.is_empty() {
        map.remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_selector_finds_what_has_all_its_labels() {
        let mut index = LabelIndex::default();
        index.insert(&1, &labels(&[("app", "a"), ("ns", "x")]));
        index.insert(&2, &labels(&[("app", "a"), ("ns", "y")]));
        index.insert(&3, &labels(&[]));
        let found = |wanted: &[(&str, &str)]| index.select(&labels(wanted)).into_iter().collect::<Vec<_>>();
        assert_eq!(found(&[("app", "a")]), [1, 2]);
        assert_eq!(found(&[("app", "a"), ("ns", "y")]), [2]);
        assert_eq!(found(&[("app", "b")]), [0; 0]);
        assert_eq!(found(&[]), [1, 2, 3]);
        index.remove(&2, &labels(&[("app", "a"), ("ns", "y")]));
        assert_eq!(index.select(&labels(&[("ns", "y")])).len(), 0);
    }

    #[test]
    fn candidates_hold_every_selector_that_selects() {
        let mut index = SelectorIndex::default();
        index.insert(&1, &labels(&[("ns", "x"), ("app", "a")]));
        index.insert(&2, &labels(&[("ns", "x"), ("app", "b")]));
        index.insert(&3, &labels(&[]));
        let candidates: Vec<_> = index.candidates(&labels(&[("ns", "x"), ("app", "b")])).copied().collect();
        assert!(candidates.contains(&2) && candidates.contains(&3));
        index.remove(&2, &labels(&[("ns", "x"), ("app", "b")]));
        assert!(!index.candidates(&labels(&[("ns", "x"), ("app", "b")])).any(|key| *key == 2));
    }
}
