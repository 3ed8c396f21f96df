//! Which streams are to be written, and in which order.

use std::collections::{BTreeMap, VecDeque};

use super::Connection;

/// Whether a stream has something to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Nothing.
    No,
    /// What may wait: counters, and that it lives.
    Later,
    /// That it came or left, its certificate, a refusal.
    Soon,
}

/// How many streams show that this control plane lives: one would do, but its Dataplane may go.
const GROWING_MAX: usize = 16;

/// All streams of this process, each as it is now.
#[derive(Debug, Default)]
pub(super) struct Queue {
    streams: BTreeMap<u64, Noted>,
    /// Numbers of those that are due; what was written meanwhile is skipped.
    soon: VecDeque<u64>,
    later: VecDeque<u64>,
}

#[derive(Clone, Debug)]
struct Noted {
    connection: Connection,
    due: Due,
}

impl Queue {
    /// How urgent the most urgent is. It may have been written meanwhile.
    pub(super) fn most_urgent(&self) -> Due {
        match (self.soon.is_empty(), self.later.is_empty()) {
            (false, _) => Due::Soon,
            (true, false) => Due::Later,
            (true, true) => Due::No,
        }
    }

    /// A stream that is new, or could not be written.
    pub(super) fn put(&mut self, connection: Connection) {
        let number = connection.stream;
        self.streams.entry(number).or_insert(Noted { connection, due: Due::No });
        self.raise(number, Due::Soon);
    }

    /// `change` tells how urgent what it changed is.
    pub(super) fn note(&mut self, number: u64, change: impl FnOnce(&mut Connection) -> Due) {
        let Some(noted) = self.streams.get_mut(&number) else { return };
        let due = change(&mut noted.connection);
        self.raise(number, due);
    }

    /// Some streams show that the control plane lives; the leader takes them for all.
    pub(super) fn grow(&mut self) {
        let open = self.streams.iter_mut().filter(|(_, noted)| noted.connection.disconnect_time.is_none());
        for (number, noted) in open.take(GROWING_MAX) {
            noted.connection.generation = noted.connection.generation.wrapping_add(1);
            if noted.due < Due::Soon {
                noted.due = Due::Soon;
                self.soon.push_back(*number);
            }
        }
    }

    /// Takes at most `count` of what is at least as urgent as `due`, those first that have waited
    /// longest, in the order in which the streams were opened. Streams that have ended are forgotten.
    pub(super) fn take(&mut self, due: Due, count: usize) -> Vec<Connection> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let next = match self.soon.pop_front() {
                Some(number) => Some((number, Due::Soon)),
                None if due <= Due::Later => self.later.pop_front().map(|number| (number, Due::Later)),
                None => None,
            };
            let Some((number, due)) = next else { break };
            let Some(noted) = self.streams.get_mut(&number).filter(|noted| noted.due == due) else { continue };
            noted.due = Due::No;
            taken.push(noted.connection.clone());
            if noted.connection.disconnect_time.is_some() {
                self.streams.remove(&number);
            }
        }
        taken.sort_by_key(|connection| connection.stream);
        taken
    }

    fn raise(&mut self, number: u64, due: Due) {
        let Some(noted) = self.streams.get_mut(&number).filter(|noted| noted.due < due) else { return };
        noted.due = due;
        match due {
            Due::No => {}
            Due::Later => self.later.push_back(number),
            Due::Soon => self.soon.push_back(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::tests::connection;
    use super::*;

    fn queue(streams: std::ops::Range<u64>) -> Queue {
        let mut queue = Queue::default();
        for number in streams {
            queue.put(Connection { stream: number, ..connection(&number.to_string(), 1) });
        }
        queue
    }

    fn numbers(taken: &[Connection]) -> Vec<u64> {
        taken.iter().map(|connection| connection.stream).collect()
    }

    #[test]
    fn what_happens_next_to_an_opening_is_written_with_it() {
        let mut queue = queue(1..3);
        queue.note(1, |connection| {
            connection.generation = 7;
            Due::Later
        });
        let taken = queue.take(Due::Later, 10);
        assert_eq!((numbers(&taken), taken[0].generation), (vec![1, 2], 7));
        assert!(queue.take(Due::Later, 10).is_empty());
        assert_eq!(queue.most_urgent(), Due::No);
    }

    #[test]
    fn what_is_urgent_comes_first_and_nobody_starves() {
        let mut queue = queue(1..5);
        queue.take(Due::Soon, 10);
        (1..5).for_each(|number| queue.note(number, |_| Due::Later));
        queue.note(4, |_| Due::Soon);
        assert_eq!(numbers(&queue.take(Due::Soon, 10)), [4]);
        assert_eq!(numbers(&queue.take(Due::Later, 2)), [1, 2]);
        queue.note(1, |_| Due::Later);
        assert_eq!(numbers(&queue.take(Due::Later, 1)), [3]);
        assert_eq!(numbers(&queue.take(Due::Later, 9)), [1]);
    }

    #[test]
    fn some_streams_show_life_for_all() {
        let mut queue = queue(1..100);
        queue.take(Due::Later, 1000);
        queue.grow();
        let taken = queue.take(Due::Soon, 1000);
        assert_eq!((taken.len(), taken[0].generation), (GROWING_MAX, 1));
    }

    #[test]
    fn a_stream_that_ended_is_forgotten_when_it_is_taken() {
        let mut queue = queue(1..3);
        queue.note(1, |connection| {
            connection.disconnect_time = connection.opened.connect_time.map(|time| time.0);
            Due::Soon
        });
        let taken = queue.take(Due::Soon, 9);
        assert_eq!((taken.len(), queue.streams.len()), (2, 1));
        queue.put(taken[0].clone());
        assert_eq!(numbers(&queue.take(Due::Soon, 9)), [1]);
    }
}
