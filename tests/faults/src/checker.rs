//! What a history must satisfy.
//!
//! Every acknowledged write tells its revision and every read the revision of what it shows, so the
//! order of the writes of a resource is known, and linearizability is a matter of comparing each
//! operation with those that had ended before it began: linear time, after sorting.

use std::collections::BTreeMap;

use crate::history::{Asked, Operation, Seen, Told};

/// What is known of one resource from all answers together.
#[derive(Debug, Default)]
struct Register {
    /// The value at a revision.
    values: BTreeMap<u64, u64>,
    /// The revision of a value.
    revisions: BTreeMap<u64, u64>,
}

/// Everything that is wrong with a history; nothing when it is linearizable, no acknowledged write
/// is lost, no guard was broken and revisions only grow. Resources are never deleted.
pub fn check(history: &[Operation]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut registers: BTreeMap<u64, Register> = BTreeMap::new();
    for operation in history {
        if let Some(seen) = shown(operation) {
            registers.entry(operation.key).or_default().learn(operation, seen, &mut wrong);
        }
    }
    for operation in history {
        if let (Asked::Write { value, guard }, Some(register)) = (operation.asked, registers.get(&operation.key)) {
            register.check_write(operation, value, guard, &mut wrong);
        }
    }
    check_order(history, &mut wrong);
    check_future(history, &mut wrong);
    wrong
}

/// The revision and value that an answer tells of.
fn shown(operation: &Operation) -> Option<Seen> {
    match (operation.asked, operation.told) {
        (Asked::Write { value, .. }, Told::Written { revision, .. }) => Some((revision, value)),
        (Asked::Read { .. }, Told::Read(seen)) => seen,
        _ => None,
    }
}

impl Register {
    fn learn(&mut self, operation: &Operation, (revision, value): Seen, wrong: &mut Vec<String>) {
        let known = *self.values.entry(revision).or_insert(value);
        if known != value {
            wrong.push(format!("revision {revision} has value {known} and value {value}: {operation:?}"));
        }
        let known = *self.revisions.entry(value).or_insert(revision);
        if known != revision {
            wrong.push(format!("value {value} is at revision {known} and at {revision}: {operation:?}"));
        }
    }

    /// A write, known to stand at a revision or not, is where its client was told, under its guard.
    fn check_write(&self, operation: &Operation, value: u64, guard: Option<u64>, wrong: &mut Vec<String>) {
        let Some(revision) = self.revisions.get(&value) else { return };
        if operation.told == Told::Refused {
            wrong.push(format!("a refused write is there at revision {revision}: {operation:?}"));
        }
        let before = self.values.range(..revision).next_back().map(|(before, _)| *before);
        if let Some(guard) = guard
            && before.is_some_and(|before| before > guard)
        {
            wrong.push(format!("a write over revision {guard} replaced {before:?}: {operation:?}"));
        }
        if let (Told::Written { created: true, .. }, Some(before)) = (operation.told, before) {
            wrong.push(format!("a resource was created over revision {before}: {operation:?}"));
        }
    }
}

/// What had ended before an operation began.
#[derive(Debug, Default)]
struct Floor {
    /// The newest acknowledged revision of any resource.
    group: u64,
    /// The newest revision of each resource that anybody was told.
    resources: BTreeMap<u64, u64>,
    /// The newest revision of each resource that a replica showed since it was started.
    lives: BTreeMap<(u64, u64), u64>,
}

/// Compares each operation with those that had ended before it began.
fn check_order(history: &[Operation], wrong: &mut Vec<String>) {
    let mut begins: Vec<_> = history.iter().collect();
    begins.sort_by_key(|operation| operation.begin);
    let mut ends = begins.clone();
    ends.sort_by_key(|operation| operation.end);
    let mut ended = ends.into_iter().peekable();
    let mut floor = Floor::default();
    for operation in begins {
        while let Some(before) = ended.next_if(|before| before.end < operation.begin) {
            floor.rise(before);
        }
        floor.check(operation, wrong);
    }
}

impl Floor {
    fn rise(&mut self, operation: &Operation) {
        let Some((revision, _)) = shown(operation) else { return };
        let of_resource = self.resources.entry(operation.key).or_default();
        *of_resource = revision.max(*of_resource);
        if matches!(operation.told, Told::Written { .. }) {
            self.group = revision.max(self.group);
        }
        if matches!(operation.asked, Asked::Read { .. }) {
            let of_life = self.lives.entry((operation.life, operation.key)).or_default();
            *of_life = revision.max(*of_life);
        }
    }

    fn check(&self, operation: &Operation, wrong: &mut Vec<String>) {
        let of_resource = self.resources.get(&operation.key).copied().unwrap_or(0);
        match (operation.asked, operation.told) {
            (Asked::Write { .. }, Told::Written { revision, .. }) => {
                let floor = self.group.max(of_resource);
                if revision <= floor {
                    wrong.push(format!("revision {floor} was there before this write: {operation:?}"));
                }
            }
            (Asked::Read { consistent }, Told::Read(seen)) => {
                let got = seen.map_or(0, |(revision, _)| revision);
                if consistent && got < of_resource {
                    wrong.push(format!("revision {of_resource} is lost or hidden: {operation:?}"));
                }
                let of_life = self.lives.get(&(operation.life, operation.key)).copied().unwrap_or(0);
                if got < of_life {
                    wrong.push(format!("this replica showed revision {of_life} before: {operation:?}"));
                }
            }
            _ => {}
        }
    }
}

/// Nobody sees a value before somebody asked to write it.
fn check_future(history: &[Operation], wrong: &mut Vec<String>) {
    let written: BTreeMap<u64, u64> = history
        .iter()
        .filter_map(|operation| match operation.asked {
            Asked::Write { value, .. } => Some((value, operation.begin)),
            Asked::Read { .. } => None,
        })
        .collect();
    for operation in history {
        if let (Asked::Read { .. }, Told::Read(Some((_, value)))) = (operation.asked, operation.told)
            && written.get(&value).is_none_or(|begin| *begin > operation.end)
        {
            wrong.push(format!("nobody had written this: {operation:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history in which operations follow one another; each takes five ticks of ten.
    #[derive(Default)]
    struct Story(Vec<Operation>);

    impl Story {
        fn then(mut self, life: u64, asked: Asked, told: Told) -> Self {
            let begin = self.0.len() as u64 * 10;
            self.0.push(Operation { key: 1, life, asked, told, begin, end: begin + 5 });
            self
        }

        fn write(self, value: u64, guard: Option<u64>, revision: u64) -> Self {
            let created = revision == 1;
            self.then(0, Asked::Write { value, guard }, Told::Written { revision, created })
        }

        fn ends(self, value: u64, guard: Option<u64>, told: Told) -> Self {
            self.then(0, Asked::Write { value, guard }, told)
        }

        fn read(self, life: u64, consistent: bool, seen: Option<Seen>) -> Self {
            self.then(life, Asked::Read { consistent }, Told::Read(seen))
        }

        /// Makes the last operation begin before the one at `at` ended.
        fn overlapping(mut self, at: usize) -> Self {
            let begin = self.0[at].begin + 1;
            if let Some(last) = self.0.last_mut() {
                last.begin = begin;
            }
            self
        }

        #[track_caller]
        fn holds(self) {
            assert_eq!(check(&self.0), Vec::<String>::new());
        }

        #[track_caller]
        fn breaks(self, because: &str) {
            let wrong = check(&self.0);
            assert!(wrong.iter().any(|wrong| wrong.contains(because)), "{wrong:#?}");
        }
    }

    fn three_writes() -> Story {
        Story::default().write(11, None, 1).write(12, Some(1), 2).write(13, None, 3)
    }

    #[test]
    fn a_good_history_is_fine() {
        three_writes().read(0, true, Some((3, 13))).read(1, false, Some((2, 12))).holds();
        // Concurrent with the last write.
        three_writes().read(0, true, Some((2, 12))).overlapping(2).holds();
        Story::default().read(0, true, None).holds();
    }

    #[test]
    fn an_unknown_write_may_stand_or_not_until_somebody_saw_it() {
        three_writes().ends(14, None, Told::Unknown).read(0, true, Some((3, 13))).holds();
        let seen = || three_writes().ends(14, None, Told::Unknown).read(0, true, Some((4, 14)));
        seen().holds();
        seen().read(0, true, Some((3, 13))).breaks("lost or hidden");
    }

    #[test]
    fn a_lost_write_is_found() {
        three_writes().read(0, true, Some((2, 12))).breaks("lost or hidden");
        Story::default().write(11, None, 1).read(0, true, None).breaks("lost or hidden");
    }

    #[test]
    fn a_stale_consistent_read_is_found_where_a_plain_one_is_fine() {
        three_writes().read(1, false, Some((1, 11))).holds();
        three_writes().read(1, true, Some((1, 11))).breaks("lost or hidden");
    }

    #[test]
    fn a_plain_read_that_goes_back_is_found_but_not_after_a_restart() {
        let read = || three_writes().read(1, false, Some((3, 13)));
        read().read(1, false, Some((2, 12))).breaks("showed revision 3 before");
        read().read(2, false, Some((2, 12))).holds();
    }

    #[test]
    fn a_broken_guard_is_found() {
        three_writes().write(14, Some(2), 4).breaks("a write over revision 2");
        // The write in between is only known from a read.
        let between = Story::default().write(11, None, 1).ends(12, None, Told::Unknown).read(0, true, Some((2, 12)));
        between.write(13, Some(1), 3).breaks("a write over revision 1");
        // One that nobody was told of, but that somebody saw.
        let unknown = three_writes().ends(14, Some(1), Told::Unknown).read(0, true, Some((4, 14)));
        unknown.breaks("a write over revision 1");
    }

    #[test]
    fn two_creations_are_found() {
        let created = Told::Written { revision: 4, created: true };
        three_writes().ends(14, None, created).breaks("created over revision 3");
    }

    #[test]
    fn a_refused_write_that_is_there_is_found() {
        three_writes().ends(14, None, Told::Refused).holds();
        three_writes().ends(14, None, Told::Refused).read(0, false, Some((4, 14))).breaks("refused write is there");
    }

    #[test]
    fn revisions_that_go_back_or_come_twice_are_found() {
        Story::default().write(11, None, 5).write(12, None, 4).breaks("revision 5 was there");
        Story::default().write(11, None, 5).write(12, None, 5).breaks("has value 11 and value 12");
        let twice = three_writes().read(0, false, Some((4, 13)));
        twice.breaks("value 13 is at revision 3 and at 4");
        // Of another resource.
        let mut two = three_writes().write(14, None, 3);
        if let Some(last) = two.0.last_mut() {
            last.key = 2;
        }
        two.breaks("revision 3 was there");
    }

    #[test]
    fn a_value_from_nowhere_is_found() {
        three_writes().read(0, false, Some((4, 99))).breaks("nobody had written");
    }
}
