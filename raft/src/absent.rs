//! Tells the log once that a replica does not answer, and once that it does again.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::types::ReplicaId;

/// Questions in a row that a replica leaves unanswered before it is told: one that restarts misses one.
const UNANSWERED_MIN: u32 = 2;

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Gone,
    /// After so many seconds.
    Back(u64),
}

#[derive(Debug)]
struct Silence {
    since: Instant,
    unanswered: u32,
}

/// Who does not answer this replica.
#[derive(Debug, Default)]
pub(crate) struct Absent {
    silent: BTreeMap<ReplicaId, Silence>,
}

impl Absent {
    /// A replica has answered, or not and why.
    pub(crate) fn heard(&mut self, id: ReplicaId, address: &str, answer: Result<(), &dyn std::fmt::Display>) {
        match (self.news(id, answer.is_ok()), answer) {
            (Some(News::Gone), Err(why)) => tracing::warn!(replica = id, address, %why, "replica does not answer"),
            (Some(News::Back(seconds)), _) => tracing::info!(replica = id, address, seconds, "replica answers again"),
            _ => {}
        }
    }

    /// Forgets who is not in the group any more.
    pub(crate) fn retain(&mut self, is_member: impl Fn(ReplicaId) -> bool) {
        self.silent.retain(|id, _| is_member(*id));
    }

    fn news(&mut self, id: ReplicaId, has_answered: bool) -> Option<News> {
        if has_answered {
            let silence = self.silent.remove(&id).filter(|silence| silence.unanswered >= UNANSWERED_MIN)?;
            return Some(News::Back(silence.since.elapsed().as_secs()));
        }
        let silence = self.silent.entry(id).or_insert_with(|| Silence { since: Instant::now(), unanswered: 0 });
        silence.unanswered = silence.unanswered.saturating_add(1);
        (silence.unanswered == UNANSWERED_MIN).then_some(News::Gone)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_is_told_once_and_once_when_it_is_back() {
        let mut absent = Absent::default();
        let mut told = Vec::new();
        for has_answered in [true, false, true, false, false, false, false, true, true] {
            told.push(absent.news(7, has_answered));
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        let expected = [None, None, None, None, Some(News::Gone), None, None, Some(News::Back(8)), None];
        assert_eq!(told, expected);
    }

    #[test]
    fn who_left_the_group_is_forgotten() {
        let mut absent = Absent::default();
        absent.news(7, false);
        absent.retain(|id| id != 7);
        assert_eq!(absent.news(7, false), None);
    }
}
