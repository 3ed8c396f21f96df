//! The latest revisions of one mesh: whom each touched, and what it changed.

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use model::Key;
use store::Revision;
use xds::Touched;

/// How many revisions that touched somebody are remembered.
const STEPS_LEN_MAX: usize = 1024;

/// How many names and keys are remembered with them.
const NAMES_LEN_MAX: usize = 1 << 17;

/// What one revision did.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The revision.
    pub(crate) revision: Revision,
    /// Whom it can concern.
    pub(crate) touched: Touched,
    /// The resources that it changed.
    pub(crate) changed: Arc<[Key]>,
}

impl Step {
    fn names_len(&self) -> usize {
        let touched = match &self.touched {
            Touched::None | Touched::All => 0,
            Touched::Some(names) => names.len(),
        };
        touched + self.changed.len()
    }
}

/// What is known of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen<'a> {
    /// Whom it touched, and when they were told.
    Touched(&'a Touched, Instant),
    /// It touched nobody.
    Nobody,
    /// Nothing.
    Forgotten,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// By revision; only those that touched somebody.
    steps: VecDeque<(Step, Instant)>,
    names_len: usize,
    /// Up to this revision nothing is remembered.
    forgotten: Revision,
}

impl Recent {
    /// Forgets everything up to `revision`: the mesh was read anew.
    pub(crate) fn restart(&mut self, revision: Revision) {
        *self = Self { forgotten: revision, ..Self::default() };
    }

    /// Takes in what a newer revision did.
    pub(crate) fn push(&mut self, step: Step, at: Instant) {
        if step.touched == Touched::None {
            return;
        }
        self.names_len += step.names_len();
        self.steps.push_back((step, at));
        while self.steps.len() > STEPS_LEN_MAX || self.names_len > NAMES_LEN_MAX {
            let Some((oldest, _)) = self.steps.pop_front() else { return };
            self.names_len -= oldest.names_len();
            self.forgotten = oldest.revision;
        }
    }

    /// What is known of whom a revision touched.
    pub(crate) fn seen(&self, revision: Revision) -> Seen<'_> {
        if revision <= self.forgotten {
            return Seen::Forgotten;
        }
        match self.steps.binary_search_by_key(&revision, |(step, _)| step.revision) {
            Ok(at) => Seen::Touched(&self.steps[at].0.touched, self.steps[at].1),
            Err(_) => Seen::Nobody,
        }
    }

    /// What was changed by the revisions that touched the proxy and that `covers` lets through; `None`
    /// when `covers` lets some through that are forgotten.
    pub(crate) fn changed(&self, proxy: &str, covers: impl Fn(u64) -> bool) -> Option<BTreeSet<Key>> {
        if self.forgotten.0 > 0 && covers(self.forgotten.0) {
            return None;
        }
        let steps = self.steps.iter().map(|(step, _)| step);
        let covered = steps.filter(|step| covers(step.revision.0) && step.touched.contains(proxy));
        Some(covered.flat_map(|step| step.changed.iter().cloned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(revision: u64, touched: Touched) -> Step {
        let changed = Key::new(model::registry::MESH_TIMEOUT, "m", &revision.to_string());
        Step { revision: Revision(revision), touched, changed: [changed].into() }
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_known() {
        let mut recent = Recent::default();
        for revision in 1..3000 {
            recent.push(step(revision, Touched::All), Instant::now());
        }
        assert_eq!(recent.steps.len(), STEPS_LEN_MAX);
        assert_eq!(recent.seen(Revision(1)), Seen::Forgotten);
        assert!(matches!(recent.seen(Revision(2999)), Seen::Touched(Touched::All, _)));
        assert_eq!(recent.seen(Revision(3000)), Seen::Nobody);
        let many = |n: usize| Touched::Some((0..n).map(|n| n.to_string().into()).collect());
        for revision in 3000..3010 {
            recent.push(step(revision, many(NAMES_LEN_MAX / 4)), Instant::now());
        }
        assert!(recent.names_len <= NAMES_LEN_MAX && recent.steps.len() < 5, "{}", recent.steps.len());
    }

    #[test]
    fn changes_are_those_of_the_revisions_that_touched_the_proxy() {
        let mut recent = Recent::default();
        recent.restart(Revision(2));
        let some = |name: &str| Touched::Some([name.into()].into());
        for (revision, touched) in [(3, Touched::All), (4, some("other")), (5, some("a")), (6, Touched::All)] {
            recent.push(step(revision, touched), Instant::now());
        }
        let names = |from: u64, upto: u64| {
            let changed = recent.changed("a", |revision| from < revision && revision <= upto)?;
            Some(changed.iter().map(|key| key.name.to_string()).collect::<Vec<_>>().join(","))
        };
        assert_eq!(names(2, 5).as_deref(), Some("3,5"));
        assert_eq!(names(3, 4).as_deref(), Some(""));
        assert_eq!(names(0, 5), None, "what was before the restart may be to blame as well");
    }
}
