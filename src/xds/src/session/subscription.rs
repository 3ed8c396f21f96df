//! What a proxy wants of one type.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The name that stands for all resources.
const WILDCARD: &str = "*";

/// The names that a proxy asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscription {
    /// All resources are wanted. Only an unsubscription from `*` ends that: names that are
    /// subscribed to later stand beside it.
    wildcard: bool,
    /// Names that were asked for one by one, known to us or not.
    names: BTreeSet<Arc<str>>,
}

impl Subscription {
    /// Takes in the lists of a request. An empty first request is the old way to ask for all.
    pub(super) fn update(&mut self, first: bool, subscribe: &[Arc<str>], unsubscribe: &[Arc<str>]) {
        if first && subscribe.is_empty() {
            self.wildcard = true;
        }
        for name in subscribe {
            if &**name == WILDCARD {
                self.wildcard = true;
            } else {
                self.names.insert(Arc::clone(name));
            }
        }
        for name in unsubscribe {
            if &**name == WILDCARD {
                self.wildcard = false;
            } else {
                self.names.remove(name);
            }
        }
    }

    /// Whether this name is wanted.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Whether all names are wanted.
    pub(super) fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The names that were asked for one by one.
    pub(super) fn names(&self) -> &BTreeSet<Arc<str>> {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|n| Arc::from(*n)).collect()
    }

    #[test]
    fn empty_first_request_wants_all_and_a_later_one_changes_nothing() {
        let mut subscription = Subscription::default();
        subscription.update(true, &[], &[]);
        assert!(subscription.wants("a"));

        let mut named = Subscription::default();
        named.update(true, &names(&["a"]), &[]);
        named.update(false, &[], &[]);
        assert!(!named.wants("b"));
    }

    #[test]
    fn a_name_beside_the_wildcard_does_not_end_it() {
        let mut subscription = Subscription::default();
        subscription.update(true, &[], &[]);
        subscription.update(false, &names(&["a"]), &[]);
        subscription.update(false, &[], &names(&["a"]));
        assert!(subscription.wants("a") && subscription.wants("b"));
    }

    #[test]
    fn leaving_the_wildcard_keeps_the_names() {
        let mut subscription = Subscription::default();
        subscription.update(true, &names(&["*", "a"]), &[]);
        subscription.update(false, &[], &names(&["*"]));
        assert!(subscription.wants("a") && !subscription.wants("b"));
    }
}
