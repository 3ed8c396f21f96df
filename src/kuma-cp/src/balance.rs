//! How many proxies a replica sends elsewhere: a pure decision, a few at a time.
//!
//! A replica acts on its own, when it has more than its share of all proxies and clearly more than
//! the one with the fewest. It closes a small part of its excess, so that no other one gets more than
//! its share even if all go there, and none comes back. When its number does not fall (they all came
//! back: one address leads here) it waits longer and longer.

/// A replica with so few sends nobody away.
pub(crate) const NEVER_FEWER: usize = 2;

/// How many more than the one with the fewest a replica may have, in parts of the share, and at least.
const SLACK_PARTS: usize = 10;
const SLACK_MIN: usize = 2;

/// Which part of the excess goes in one round, and how many at most.
const STEP_PARTS: usize = 10;
const STEP_MAX: usize = 50;

/// How many rounds are waited at most when closing does not help.
const WAIT_ROUNDS_MAX: u32 = 300;

/// Decides, round after round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Balancer {
    /// How many proxies there were, and how many were sent away, when some last were.
    last: Option<(usize, usize)>,
    /// Rounds to let pass, and how many were let pass last.
    waits: u32,
    waited: u32,
}

impl Balancer {
    /// How many proxies to send away, of `own`, when the `others` have so many.
    pub(crate) fn step(&mut self, own: usize, others: &[usize]) -> usize {
        if self.waits > 0 {
            self.waits -= 1;
            return 0;
        }
        let closes = excess_step(own, others);
        if closes == 0 {
            *self = Self::default();
            return 0;
        }
        if let Some((before, closed)) = self.last.take() {
            if own + closed / 2 >= before {
                self.waited = (self.waited * 2).clamp(1, WAIT_ROUNDS_MAX);
                self.waits = self.waited;
                return 0;
            }
            self.waited = 0;
        }
        self.last = Some((own, closes));
        // They need a moment to arrive and to be told of.
        self.waits = 1;
        closes
    }
}

/// The part of the excess that goes in one round.
fn excess_step(own: usize, others: &[usize]) -> usize {
    let Some(fewest) = others.iter().min() else { return 0 };
    let share = (own + others.iter().sum::<usize>()) / (others.len() + 1);
    let slack = (share / SLACK_PARTS).max(SLACK_MIN);
    if own <= share || own <= fewest + slack {
        return 0;
    }
    ((own - share) / STEP_PARTS).clamp(1, STEP_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_clear_excess_moves_and_only_a_part_of_it() {
        for (own, others, expected) in [
            (10, vec![], 0),
            (0, vec![0, 0], 0),
            (2, vec![0, 0], 0),
            (3, vec![0, 0], 1),
            (3, vec![3, 0], 1),
            (4, vec![3, 2], 0),
            (4, vec![4, 1], 1),
            (100, vec![100, 100], 0),
            (106, vec![97, 97], 0),
            (110, vec![95, 95], 1),
            (130, vec![85, 85], 3),
            (3, vec![3, 3, 0], 1),
            (300, vec![0, 0], 20),
            (30_000, vec![0, 0], 50),
            (90, vec![120, 90], 0),
        ] {
            assert_eq!(excess_step(own, &others), expected, "{own} {others:?}");
        }
    }

    #[test]
    fn one_whose_proxies_all_come_back_tries_more_and_more_seldom() {
        let mut balancer = Balancer::default();
        let acted: Vec<_> = (0..300).filter(|_| balancer.step(300, &[0, 0]) > 0).collect();
        assert!(acted.len() < 12, "{acted:?}");
        let gaps: Vec<_> = acted.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.is_sorted(), "{gaps:?}");
        // As soon as it helps, it goes on.
        while balancer.step(300, &[0, 0]) == 0 {}
        assert_eq!((balancer.step(280, &[10, 10]), balancer.step(280, &[10, 10])), (0, 18));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// When proxies go to any other replica, the numbers come to rest, nearly even, and then
        /// nobody moves.
        #[test]
        fn numbers_come_to_rest_near_the_share(
            mut counts in proptest::collection::vec(0usize..300, 2..5),
            seed in 1u64..u64::MAX,
        ) {
            let total: usize = counts.iter().sum();
            let replicas = counts.len();
            let mut balancers = vec![Balancer::default(); replicas];
            // xorshift64: Marsaglia, Xorshift RNGs (2003).
            let mut random = seed;
            let mut place = || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                usize::try_from(random % (replicas as u64 - 1)).unwrap()
            };
            let mut moved = 0;
            let mut quiet = 0;
            for _ in 0..5000 {
                let seen = counts.clone();
                let mut closed = 0;
                for at in 0..replicas {
                    let mut others = seen.clone();
                    others.remove(at);
                    let closes = balancers[at].step(seen[at], &others);
                    counts[at] -= closes;
                    for _ in 0..closes {
                        // Anywhere but where it was closed, which is what a draining connection means.
                        let to = (at + 1 + place()) % replicas;
                        counts[to] += 1;
                    }
                    closed += closes;
                }
                moved += closed;
                quiet = if closed == 0 { quiet + 1 } else { 0 };
                if quiet > 300 {
                    break;
                }
            }
            let slack = (total / replicas / SLACK_PARTS).max(SLACK_MIN);
            prop_assert!(quiet > 300, "never rests: {:?}", counts);
            let (fewest, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(most - fewest <= slack, "{:?}", counts);
            prop_assert!(moved <= total * 2, "{} moves of {}", moved, total);
            prop_assert_eq!(counts.iter().sum::<usize>(), total);
        }
    }
}
