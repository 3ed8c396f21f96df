//! Which faults there are, which of them a run has, and how it went.

use std::fmt;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::latency::Felt;

/// One thing that is done to the group. It ends with everybody running and caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// The leader dies.
    KillLeader,
    /// One that follows dies.
    KillFollower,
    /// All die at once.
    KillAll,
    /// The leader stands still.
    PauseLeader,
    /// One that follows stands still.
    PauseFollower,
    /// Nothing passes between the leader and the others.
    IsolateLeader,
    /// Nothing passes between one that follows and the others.
    IsolateFollower,
    /// The leader sends, and hears nothing.
    DeafLeader,
    /// The leader hears, and nobody hears it.
    MuteLeader,
    /// The leader does not hear one, and is not heard by another.
    HalfWires,
    /// A replica can write no more.
    DiskFull,
    /// The syncs of a replica's disk fail.
    FailingDisk,
    /// The leader's disk takes a third of a second for a sync.
    SlowDisk,
    /// The clock of a replica jumps by minutes or days, it is started again under it, and the clock goes back.
    Clock,
    /// A replica is away until the others have forgotten the log that it needs.
    Snapshot,
    /// The leader hands over.
    HandOver,
    /// One joins and one leaves, and the leader is killed meanwhile.
    Members,
    /// One joins, and another is removed while the leader is cut off.
    MembersParted,
    /// A replica's log is emptied while it is down; it joins from scratch.
    DamagedLog,
    /// A byte of its snapshot is damaged.
    DamagedSnapshot,
}

impl Fault {
    const ALL: [Self; 20] = [
        Self::KillLeader,
        Self::DeafLeader,
        Self::KillFollower,
        Self::MuteLeader,
        Self::PauseLeader,
        Self::DiskFull,
        Self::IsolateLeader,
        Self::Snapshot,
        Self::KillAll,
        Self::HandOver,
        Self::HalfWires,
        Self::Members,
        Self::PauseFollower,
        Self::IsolateFollower,
        Self::SlowDisk,
        Self::Clock,
        Self::MembersParted,
        Self::FailingDisk,
        Self::DamagedLog,
        Self::DamagedSnapshot,
    ];
}

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The faults, one after the other.
    pub faults: Vec<Fault>,
    /// How many writes are acknowledged under a fault that the group must bear, and after it.
    pub writes: u64,
    /// What the clients and the victims are drawn from.
    pub seed: u64,
    /// Each replica has a network namespace of its own. That needs root.
    pub namespaces: bool,
}

impl Plan {
    /// All kinds of faults in order, once, and then more of them, drawn by the seed.
    pub fn long(more: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let drawn: Vec<_> = (0..more).filter_map(|_| Fault::ALL.choose(&mut rng).copied()).collect();
        Self { faults: Fault::ALL.into_iter().chain(drawn).collect(), writes: 30, seed, namespaces: false }
    }

    /// One of each sort: a death, a pause, a partition, one that cuts one direction only, a full disk,
    /// a clock that jumps, a snapshot that is installed, and everybody's death.
    pub fn short(seed: u64) -> Self {
        let faults = vec![
            Fault::KillLeader,
            Fault::PauseLeader,
            Fault::MuteLeader,
            Fault::DiskFull,
            Fault::IsolateLeader,
            Fault::Clock,
            Fault::Snapshot,
            Fault::KillAll,
        ];
        Self { faults, writes: 10, seed, namespaces: false }
    }
}

/// How a run went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Operations of the clients.
    pub operations: usize,
    /// Acknowledged writes.
    pub written: usize,
    /// Refused operations.
    pub refused: usize,
    /// Writes whose outcome the client does not know.
    pub unknown: usize,
    /// How long clients waited, fault by fault.
    pub felt: Vec<Felt>,
    /// Requests between workloads.
    pub calls: u64,
    /// Those of them that failed.
    pub failed_calls: Vec<String>,
    /// What could not be done on this machine.
    pub skipped: Vec<String>,
    /// What the history breaks.
    pub wrong: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "waits: at most 10, 30, 100, 300 ms, 1, 3, 10 s, longer")?;
        for felt in &self.felt {
            writeln!(f, "{felt}")?;
        }
        let Self { operations, written, refused, unknown, calls, .. } = self;
        let failed = self.failed_calls.len();
        writeln!(f, "{operations} operations, {refused} refused; {written} acknowledged writes, {unknown} unknown")?;
        writeln!(f, "{failed} of {calls} calls between workloads failed")?;
        for line in self.failed_calls.iter().chain(&self.skipped).chain(&self.wrong) {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}
