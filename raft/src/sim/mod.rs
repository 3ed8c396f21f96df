//! A group of replicas in virtual time, with a network and disks that fail as a seed says, and an
//! oracle that watches what clients are told.
//!
//! The time is tokio's paused clock. Faults, clients, delays and election timeouts draw from one
//! seed; so does tokio's choice among branches that are ready at once, where its runtime takes a seed, which
//! takes `--cfg tokio_unstable`: then a seed repeats a run to the last byte. Without, it repeats the faults, not
//! every interleaving. A failure prints its seed and the command that runs it again; `RAFT_SIM_SEEDS=n`
//! runs more of them, `RAFT_SIM_SEED=m` beside it from that one on.

mod cut_off;
mod disk;
mod faults;
mod group;
mod machine;
mod members;
mod network;
mod oracle;
mod panics;
mod run;

use run::{Bug, run};

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("RAFT_SIM_SEED");
    let count = number("RAFT_SIM_SEEDS").unwrap_or(if first.is_some() { 1 } else { 4 });
    let first = first.unwrap_or(0);
    first..first + count
}

/// The command that runs a seed again.
fn replay(seed: u64) -> String {
    let exactly =
        if cfg!(tokio_unstable) { "RUSTFLAGS='--cfg tokio_unstable' CARGO_TARGET_DIR=target/seeded " } else { "" };
    format!("{exactly}RAFT_SIM_SEED={seed} cargo test -p raft --lib sim::no_promise")
}

#[test]
fn no_promise_is_broken_under_faults() {
    let (mut acknowledged, mut snapshots) = (0, 0);
    for seed in seeds() {
        let outcome = run(seed, None);
        assert!(outcome.violations.is_empty(), "{}\n{}", replay(seed), outcome.violations.join("\n"));
        acknowledged += outcome.acknowledged;
        snapshots += outcome.snapshots_sent;
    }
    println!("{acknowledged} acknowledged writes, {snapshots} snapshots sent");
    // A seed that is replayed may be all faults.
    assert!(acknowledged > 50 || seeds().count() == 1, "the clients get work done between the faults");
}

#[cfg(tokio_unstable)]
#[test]
fn a_seed_repeats_the_whole_run() {
    for seed in 0..20 {
        let (one, other) = (run(seed, None), run(seed, None));
        assert_eq!((one.digest, one.snapshots_sent), (other.digest, other.snapshots_sent), "seed {seed}");
    }
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
