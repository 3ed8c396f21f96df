//! What is done to a group while clients write and proxies serve, and how it went.

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use sandbox::Place;

use crate::checker;
use crate::clients::Clients;
use crate::disk;
use crate::group::{Group, PATIENCE};
use crate::history::{Asked, Operation, Told};
use crate::traffic::Traffic;

/// How many writes the clients get acknowledged under a fault, and after it.
const WRITES: u64 = 30;

/// Under one that the group does not feel, enough that a snapshot replaces the log.
const WRITES_PAST_A_SNAPSHOT: u64 = 150;

/// One thing that is done to the group. It ends with everybody running and caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    KillLeader,
    KillFollower,
    KillAll,
    PauseLeader,
    PauseFollower,
    IsolateLeader,
    /// The leader sends, and hears nothing.
    DeafLeader,
    /// The leader hears, and nobody hears it.
    MuteLeader,
    /// The leader does not hear one, and is not heard by another.
    HalfWires,
    DiskFull,
    /// A replica is away until the others have forgotten the log that it needs.
    Snapshot,
    HandOver,
    /// One joins and one leaves, and the leader is killed meanwhile.
    Members,
    /// A replica's log is emptied while it is down; it joins from scratch.
    DamagedLog,
    /// A byte of its snapshot is damaged.
    DamagedSnapshot,
}

impl Fault {
    const ALL: [Self; 15] = [
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
        Self::DamagedLog,
        Self::DamagedSnapshot,
    ];
}

/// What a run does.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// All kinds of faults in order, once, and then more of them, drawn by the seed.
    pub more_faults: usize,
    /// What the clients and the further faults are drawn from.
    pub seed: u64,
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Report {
    /// Operations of the clients.
    pub operations: usize,
    /// Acknowledged writes.
    pub written: usize,
    /// Refused operations.
    pub refused: usize,
    /// Operations whose outcome the client does not know.
    pub unknown: usize,
    /// Requests between workloads.
    pub calls: u64,
    /// Those of them that failed.
    pub failed_calls: Vec<String>,
    /// What could not be done on this machine.
    pub skipped: Vec<String>,
    /// What the history breaks.
    pub wrong: Vec<String>,
}

/// Runs a group under faults, and checks what its clients saw.
///
/// # Errors
/// When the group does not recover from a fault.
pub async fn run(plan: Plan) -> Result<Report> {
    let mut group = Group::of_three().await?;
    let traffic = Traffic::start(&mut group).await?;
    let clients = Clients::start(&group.addresses, plan.seed)?;
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let drawn: Vec<_> = (0..plan.more_faults).filter_map(|_| Fault::ALL.choose(&mut rng).copied()).collect();
    let mut skipped = Vec::new();
    for fault in Fault::ALL.into_iter().chain(drawn) {
        let before = clients.acknowledged();
        let start = std::time::Instant::now();
        let done = inflict(&mut group, &clients, fault, &mut rng).await;
        match done.with_context(|| format!("{fault:?} (seed {})", plan.seed))? {
            Done::Yes => {}
            Done::Skipped(why) => skipped.push(format!("{fault:?} skipped: {why}")),
        }
        let suffered = start.elapsed();
        group.converged().await.with_context(|| format!("after {fault:?} (seed {})", plan.seed))?;
        clients.write_more(WRITES, "after a fault").await.with_context(|| format!("after {fault:?}"))?;
        let healed = start.elapsed() - suffered;
        println!("{fault:?}: {} writes in {suffered:.1?}, healed in {healed:.1?}", clients.acknowledged() - before);
    }
    let history = clients.finish().await?.operations();
    let (calls, failed_calls) = traffic.finish().await?;
    Ok(report(&history, calls, failed_calls, skipped))
}

fn report(history: &[Operation], calls: u64, failed_calls: Vec<String>, skipped: Vec<String>) -> Report {
    let count = |is: fn(&Operation) -> bool| history.iter().filter(|operation| is(operation)).count();
    Report {
        operations: history.len(),
        written: count(|operation| matches!(operation.told, Told::Written { .. })),
        refused: count(|operation| operation.told == Told::Refused),
        unknown: count(|o| o.told == Told::Unknown && matches!(o.asked, Asked::Write { .. })),
        calls,
        failed_calls,
        skipped,
        wrong: checker::check(history),
    }
}

enum Done {
    Yes,
    Skipped(String),
}

async fn inflict(group: &mut Group, clients: &Clients, fault: Fault, rng: &mut StdRng) -> Result<Done> {
    match fault {
        Fault::KillLeader | Fault::KillFollower | Fault::Snapshot => {
            let victim = victim(group, fault == Fault::KillLeader, rng).await?;
            group.kill(victim).await?;
            let writes = if fault == Fault::Snapshot { WRITES_PAST_A_SNAPSHOT } else { WRITES };
            clients.write_more(writes, "with a dead replica").await?;
            group.start(victim)?;
        }
        Fault::KillAll => {
            for place in group.places() {
                group.kill(place).await?;
            }
            for place in group.places() {
                group.start(place)?;
            }
        }
        Fault::PauseLeader | Fault::PauseFollower => {
            let victim = victim(group, fault == Fault::PauseLeader, rng).await?;
            group.signal(victim, Signal::SIGSTOP)?;
            let written = clients.write_more(WRITES, "with a paused replica").await;
            group.signal(victim, Signal::SIGCONT)?;
            written?;
        }
        Fault::IsolateLeader | Fault::DeafLeader | Fault::MuteLeader | Fault::HalfWires => {
            part(group, fault).await?;
            clients.write_more(WRITES, "while it is parted").await?;
            group.heal();
        }
        Fault::DiskFull => return fill_disk(group, clients, rng).await,
        Fault::HandOver => {
            let follower = group.follower().await?;
            group.change("handover", follower).await?;
        }
        Fault::Members => {
            let joined = group.join().await?;
            let leader = group.leader().await?;
            group.kill(leader).await?;
            clients.write_more(WRITES, "with one of four dead").await?;
            group.start(leader)?;
            let leaves = if leader == joined { group.follower().await? } else { joined };
            leave(group, leaves).await?;
        }
        Fault::DamagedLog | Fault::DamagedSnapshot => damage(group, clients, fault, rng).await?,
    }
    Ok(Done::Yes)
}

/// The leader, or one that follows.
async fn victim(group: &mut Group, leads: bool, rng: &mut StdRng) -> Result<Place> {
    let leader = group.leader().await?;
    if leads {
        return Ok(leader);
    }
    let others: Vec<_> = group.places().into_iter().filter(|place| *place != leader).collect();
    Ok(others[rng.random_range(0..others.len())])
}

/// Cuts the wires.
async fn part(group: &mut Group, fault: Fault) -> Result<()> {
    let leader = group.leader().await?;
    let others: Vec<_> = group.places().into_iter().filter(|place| *place != leader).collect();
    for (at, other) in others.into_iter().enumerate() {
        let (to_leader, from_leader) = match fault {
            Fault::DeafLeader => (true, false),
            Fault::MuteLeader => (false, true),
            Fault::HalfWires => (at == 0, at == 1),
            _ => (true, true),
        };
        if to_leader {
            group.cut(other, leader);
        }
        if from_leader {
            group.cut(leader, other);
        }
    }
    Ok(())
}

/// A replica cannot write any more: it ends by itself and says why; with room again it comes back.
async fn fill_disk(group: &mut Group, clients: &Clients, rng: &mut StdRng) -> Result<Done> {
    let victim = victim(group, false, rng).await?;
    let control_plane = group.control_plane(victim)?;
    let process = control_plane.process().id().context("it runs")?;
    let log = disk::log_file(control_plane.work_dir());
    if let Err(why) = disk::limit_files(process, std::fs::metadata(&log)?.len() / 2) {
        return Ok(Done::Skipped(why));
    }
    clients.write_more(WRITES, "with a full disk").await?;
    let ended = control_plane.process().ended(PATIENCE).await?;
    let said = group.control_plane(victim)?.process().log_tail();
    ensure!(!ended.success() && said.contains("File too large"), "it ended with {ended} and said\n{said}");
    group.start(victim)?;
    Ok(Done::Yes)
}

/// A replica must refuse a damaged disk and say so; it is removed, and a new one takes its place.
async fn damage(group: &mut Group, clients: &Clients, fault: Fault, rng: &mut StdRng) -> Result<()> {
    let victim = victim(group, false, rng).await?;
    group.kill(victim).await?;
    let folder = group.control_plane(victim)?.work_dir().to_owned();
    let file = match fault {
        Fault::DamagedLog => disk::log_file(&folder),
        _ => disk::snapshot_file(&folder)?,
    };
    match fault {
        Fault::DamagedLog => disk::lose(&file)?,
        _ => disk::flip(&file, rng)?,
    }
    group.start(victim)?;
    let ended = group.control_plane(victim)?.process().ended(PATIENCE).await?;
    let said = group.control_plane(victim)?.process().log_tail();
    if ended.success() || !said.contains("is corrupted") {
        bail!("{}: it ended with {ended} and said\n{said}", file.display());
    }
    clients.write_more(WRITES, "without the damaged replica").await?;
    group.change("remove", victim).await?;
    group.forget(victim)?;
    group.join().await?;
    Ok(())
}

async fn leave(group: &mut Group, place: Place) -> Result<()> {
    group.converged().await?;
    if group.leader().await? == place {
        let other = group.follower().await?;
        group.change("handover", other).await?;
    }
    group.change("remove", place).await?;
    group.kill(place).await?;
    group.forget(place)
}
