//! A group of replicas in virtual time, with a network and disks that fail as a seed says, and an
//! oracle that watches what clients are told.
//!
//! The time is tokio's paused clock. Faults and clients draw from one seed; openraft's election
//! timeouts and tokio's choice among ready branches do not, so a seed repeats the faults, not every
//! interleaving. A failure prints its seed; `RAFT_SIM_SEED=n cargo test -p raft sim::` runs it
//! again, `RAFT_SIM_SEEDS=n` runs more of them.

mod disk;
mod group;
mod network;
mod oracle;
mod run;

use run::{Bug, Outcome, run};

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("RAFT_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RAFT_SIM_SEEDS").unwrap_or(4),
    }
}

#[test]
fn no_promise_is_broken_under_faults() {
    let mut acknowledged = 0;
    for seed in seeds() {
        let Outcome { acknowledged: writes, violations } = run(seed, None);
        assert!(violations.is_empty(), "RAFT_SIM_SEED={seed} cargo test -p raft sim::\n{}", violations.join("\n"));
        acknowledged += writes;
    }
    println!("{acknowledged} acknowledged writes");
    assert!(acknowledged > 100, "the clients get work done between the faults");
}

/// The tester is tested: with a bug put in, some seed must find it.
fn is_found(bug: Bug) {
    let found = (0..40).find(|seed| !run(*seed, Some(bug)).violations.is_empty());
    println!("{bug:?}: found with seed {found:?}");
    assert!(found.is_some(), "{bug:?} was not found");
}

#[test]
fn a_disk_that_does_not_sync_is_found() {
    is_found(Bug::NoSync);
}

#[test]
fn a_stale_read_is_found() {
    is_found(Bug::StaleRead);
}

#[test]
fn a_lost_feed_entry_is_found() {
    is_found(Bug::LostFeedEntry);
}
