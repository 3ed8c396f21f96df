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
        Self { fault, writes, reads }
    }
}

impl fmt::Display for Felt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, writes, reads } = self;
        write!(f, "{fault:16} writes {writes}\n{:16} reads  {reads}", "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
