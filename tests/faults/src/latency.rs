//! How long clients waited, fault by fault.

use std::fmt;
use std::time::Duration;

use crate::history::{Asked, Operation, Told};

/// Upper ends of the columns of a histogram, in milliseconds; what took longer is in the last one.
const BOUNDS_MS: [u64; 7] = [10, 30, 100, 300, 1000, 3000, 10_000];

/// The waits of one sort of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How many took at most 10, 30, 100, 300 ms, 1, 3, 10 s, and longer.
    pub histogram: [usize; BOUNDS_MS.len() + 1],
    /// The longest.
    pub longest: Duration,
    /// How many were surely not done.
    pub refused: usize,
    /// How many have an unknown outcome.
    pub unknown: usize,
}

impl Waits {
    fn add(&mut self, operation: &Operation) {
        let waited = Duration::from_nanos(operation.end.saturating_sub(operation.begin));
        let column = BOUNDS_MS.iter().position(|bound| waited <= Duration::from_millis(*bound));
        self.histogram[column.unwrap_or(BOUNDS_MS.len())] += 1;
        self.longest = self.longest.max(waited);
        self.refused += usize::from(operation.told == Told::Refused);
        self.unknown += usize::from(operation.told == Told::Unknown);
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { histogram, longest, refused, unknown } = self;
        let longest = longest.as_millis();
        write!(f, "longest {longest:5} ms, refused {refused:3}, unknown {unknown:3}, by wait {histogram:?}")
    }
}

/// What clients met under one fault and while the group recovered from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Felt {
    /// Which fault.
    pub fault: String,
    /// Writes, those that nobody acknowledged included.
    pub writes: Waits,
    /// Reads, consistent or not.
    pub reads: Waits,
    /// The longest time in which no write of any client was acknowledged.
    pub gap: Duration,
}

impl Felt {
    /// The operations that began within a span of the history, in nanoseconds since it began.
    pub(crate) fn of(fault: String, history: &[Operation], (from, to): (u64, u64)) -> Self {
        let (mut writes, mut reads) = (Waits::default(), Waits::default());
        for operation in history.iter().filter(|operation| (from..to).contains(&operation.begin)) {
            match operation.asked {
                Asked::Write { .. } => writes.add(operation),
                Asked::Read { .. } => reads.add(operation),
            }
        }
        Self { fault, writes, reads, gap: gap(history, (from, to)) }
    }
}

/// The longest time within a span that no write was acknowledged in.
fn gap(history: &[Operation], (from, to): (u64, u64)) -> Duration {
    let is_written = |operation: &&Operation| matches!(operation.told, Told::Written { .. });
    let written = history.iter().filter(is_written).map(|operation| operation.end);
    let mut times: Vec<_> = written.filter(|end| (from..to).contains(end)).chain([from, to]).collect();
    times.sort_unstable();
    Duration::from_nanos(times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0))
}

impl fmt::Display for Felt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, writes, reads, gap } = self;
        let gap = gap.as_millis();
        write!(f, "{fault:16} writes {writes}\n{:16} reads  {reads}\n{:16} longest without a write {gap} ms", "", "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_without_a_write_is_found() {
        let write = |end, told| Operation {
            key: 1,
            life: 0,
            asked: Asked::Write { value: 1, guard: None },
            told,
            begin: 0,
            end,
        };
        let written = |end| write(end, Told::Written { revision: 1, created: false });
        let history = [written(50), written(12), write(30, Told::Unknown), written(15), written(90)];
        assert_eq!(gap(&history, (10, 60)), Duration::from_nanos(35));
        assert_eq!(gap(&history, (10, 200)), Duration::from_nanos(110));
    }

    #[test]
    fn operations_count_where_they_began() {
        let ms = |ms: u64| ms * 1_000_000;
        let write = |begin, end, told| Operation {
            key: 1,
            life: 0,
            asked: Asked::Write { value: 1, guard: None },
            told,
            begin: ms(begin),
            end: ms(end),
        };
        let read = Operation { asked: Asked::Read { consistent: true }, ..write(20, 21, Told::Read(None)) };
        let history = [write(1, 5, Told::Unknown), write(10, 5000, Told::Refused), write(11, 41, Told::Unknown), read];
        let felt = Felt::of("Fault".to_owned(), &history, (ms(10), ms(30)));
        let histogram = [0, 1, 0, 0, 0, 0, 1, 0];
        let longest = Duration::from_millis(4990);
        assert_eq!(felt.writes, Waits { histogram, longest, refused: 1, unknown: 1 });
        assert_eq!(felt.reads.histogram[0], 1);
    }
}
