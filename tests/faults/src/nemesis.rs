//! What is done to a group while clients write and proxies serve.

use anyhow::{Context, Error, Result, bail, ensure};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sandbox::Place;

use crate::checker;
use crate::clients::Clients;
use crate::clock;
use crate::disk;
use crate::group::{Group, PATIENCE};
use crate::history::{Asked, Operation, Told};
use crate::latency::Felt;
use crate::namespaces::Namespaces;
use crate::plan::{Fault, Plan, Report};
use crate::relay::Switchboard;
use crate::traffic::Traffic;
use crate::wires::Wires;

/// Under a fault that the group does not feel, so many more writes, enough that a snapshot replaces
/// the log.
const PAST_A_SNAPSHOT: u64 = 120;

/// Runs a group under faults, and checks what its clients saw.
///
/// # Errors
/// When the group does not recover from a fault.
pub async fn run(plan: Plan) -> Result<Report> {
    let wires = match plan.namespaces {
        true => Wires::Namespaces(Namespaces::new()?),
        false => Wires::Relays(Switchboard::default()),
    };
    let library = match plan.faults.contains(&Fault::Clock) {
        true => clock::library(),
        false => Err("no clock is set in this run".to_owned()),
    };
    let mut group = Group::of_three(wires, library).await?;
    let traffic = Traffic::start(&mut group).await?;
    let clients = Clients::start(&group.addresses, plan.seed)?;
    let mut nemesis = Nemesis { rng: StdRng::seed_from_u64(plan.seed), writes: plan.writes };
    let (mut skipped, mut spans) = (Vec::new(), Vec::new());
    for fault in &plan.faults {
        let (before, begin) = (clients.acknowledged(), clients.history.now());
        let start = std::time::Instant::now();
        let done = nemesis.inflict(&mut group, &clients, *fault).await;
        match done.with_context(|| format!("{fault:?} (seed {})", plan.seed))? {
            Done::Yes => {}
            Done::Skipped(why) => skipped.push(format!("{fault:?} skipped: {why}")),
        }
        let suffered = start.elapsed();
        group.converged().await.with_context(|| format!("after {fault:?} (seed {})", plan.seed))?;
        clients.write_more(plan.writes, "after a fault").await.with_context(|| format!("after {fault:?}"))?;
        let healed = start.elapsed() - suffered;
        println!("{fault:?}: {} writes in {suffered:.1?}, healed in {healed:.1?}", clients.acknowledged() - before);
        spans.push((format!("{fault:?}"), (begin, clients.history.now())));
    }
    let history = clients.finish().await?.operations();
    let (calls, failed_calls) = traffic.finish().await?;
    let felt = spans.into_iter().map(|(fault, span)| Felt::of(fault, &history, span)).collect();
    Ok(report(&history, Report { felt, calls, failed_calls, skipped, ..Report::default() }))
}

fn report(history: &[Operation], of_the_rest: Report) -> Report {
    let count = |is: fn(&Operation) -> bool| history.iter().filter(|operation| is(operation)).count();
    Report {
        operations: history.len(),
        written: count(|operation| matches!(operation.told, Told::Written { .. })),
        refused: count(|operation| operation.told == Told::Refused),
        unknown: count(|o| o.told == Told::Unknown && matches!(o.asked, Asked::Write { .. })),
        wrong: checker::check(history),
        ..of_the_rest
    }
}

/// Bytes of what a replica says that cannot write its log any more.
const ROOM_FOR_WORDS: u64 = 16 * 1024;

enum Done {
    Yes,
    Skipped(String),
}

/// Who does it.
struct Nemesis {
    rng: StdRng,
    /// See [`Plan::writes`].
    writes: u64,
}

impl Nemesis {
    async fn inflict(&mut self, group: &mut Group, clients: &Clients, fault: Fault) -> Result<Done> {
        match fault {
            Fault::KillLeader | Fault::KillFollower | Fault::Snapshot => {
                let victim = self.victim(group, fault == Fault::KillLeader).await?;
                group.kill(victim).await?;
                let writes = self.writes + if fault == Fault::Snapshot { PAST_A_SNAPSHOT } else { 0 };
                clients.write_more(writes, "with a dead replica").await?;
                group.start(victim).await?;
            }
            Fault::KillAll => {
                for place in group.places() {
                    group.kill(place).await?;
                }
                for place in group.places() {
                    group.start(place).await?;
                }
            }
            Fault::PauseLeader | Fault::PauseFollower => {
                let victim = self.victim(group, fault == Fault::PauseLeader).await?;
                group.signal(victim, Signal::SIGSTOP)?;
                let written = clients.write_more(self.writes, "with a paused replica").await;
                group.signal(victim, Signal::SIGCONT)?;
                written?;
            }
            Fault::IsolateLeader | Fault::DeafLeader | Fault::MuteLeader | Fault::HalfWires => {
                part(group, fault).await?;
                clients.write_more(self.writes, "while it is parted").await?;
                group.heal()?;
            }
            Fault::IsolateFollower => {
                let victim = self.victim(group, false).await?;
                for other in group.places().into_iter().filter(|place| *place != victim) {
                    group.cut(other, victim)?;
                    group.cut(victim, other)?;
                }
                clients.write_more(self.writes, "with a follower cut off").await?;
                group.heal()?;
            }
            Fault::DiskFull => return self.fill_disk(group, clients).await,
            Fault::HandOver => {
                let follower = group.follower().await?;
                group.change("handover", follower).await?;
            }
            Fault::Members => {
                let joined = group.join().await?;
                let leader = group.leader().await?;
                group.kill(leader).await?;
                clients.write_more(self.writes, "with one of four dead").await?;
                group.start(leader).await?;
                let leaves = if leader == joined { group.follower().await? } else { joined };
                leave(group, leaves).await?;
            }
            Fault::MembersParted => self.change_while_parted(group, clients).await?,
            Fault::FailingDisk => return self.fail_disk(group, clients).await,
            Fault::Clock => return self.set_clock(group, clients).await,
            Fault::SlowDisk => return self.slow_disk(group, clients).await,
            Fault::DamagedLog | Fault::DamagedSnapshot => self.damage(group, clients, fault).await?,
        }
        Ok(Done::Yes)
    }

    /// The group gets one more, and loses one while its leader is cut off.
    async fn change_while_parted(&self, group: &mut Group, clients: &Clients) -> Result<()> {
        group.join().await?;
        let rest = group.replicas.followers().await?;
        part(group, Fault::IsolateLeader).await?;
        let leader = group.replicas.leader_among(&rest).await?;
        let leaves = rest.into_iter().find(|place| *place != leader).context("two follow")?;
        group.change("remove", leaves).await?;
        clients.write_more(self.writes, "with a changed group and one cut off").await?;
        group.kill(leaves).await?;
        group.forget(leaves)?;
        group.heal()?;
        Ok(())
    }

    /// A clock jumps while its replica runs. Then it is started again, so that all its connections are new,
    /// under certificates that were made and are judged by that clock. Last the clock goes back.
    async fn set_clock(&mut self, group: &mut Group, clients: &Clients) -> Result<Done> {
        let leads = self.rng.random();
        let victim = self.victim(group, leads).await?;
        let jump = clock::jump(&mut self.rng);
        match group.clock(victim) {
            Ok(clock) => clock.set(jump)?,
            Err(why) => return Ok(Done::Skipped(why)),
        }
        println!("the clock of replica {victim} is wrong by {jump} s");
        clients.write_more(self.writes, "with a clock that is wrong").await?;
        group.kill(victim).await?;
        group.start(victim).await?;
        // The certificates of workloads are made by the clock of whoever serves their proxies, as Kuma's are:
        // one that begins tomorrow is refused until then.
        let others: Vec<_> = group.places().into_iter().filter(|place| *place != victim).collect();
        group.let_proxies_in(&others);
        group.replicas.ready(victim).await?;
        clients.write_more(self.writes, "with a replica that was started under a wrong clock").await?;
        group.clock(victim).map_err(Error::msg)?.set(0)?;
        group.let_proxies_in(&group.places());
        Ok(Done::Yes)
    }

    /// The leader's disk takes long for a sync.
    async fn slow_disk(&mut self, group: &mut Group, clients: &Clients) -> Result<Done> {
        let victim = self.victim(group, true).await?;
        let slow = match tampered(group, victim, disk::SLOW_SYNC).await? {
            Ok(slow) => slow,
            Err(why) => return Ok(Done::Skipped(why)),
        };
        let written = clients.write_more(self.writes, "with a slow disk").await;
        slow.detach().await?;
        written?;
        Ok(Done::Yes)
    }

    /// The leader, or one that follows.
    async fn victim(&mut self, group: &Group, leads: bool) -> Result<Place> {
        let leader = group.leader().await?;
        if leads {
            return Ok(leader);
        }
        let others: Vec<_> = group.places().into_iter().filter(|place| *place != leader).collect();
        Ok(others[self.rng.random_range(0..others.len())])
    }

    /// A replica cannot write any more: it ends by itself and says why; with room again it comes back.
    async fn fill_disk(&mut self, group: &mut Group, clients: &Clients) -> Result<Done> {
        let victim = self.victim(group, false).await?;
        let control_plane = group.control_plane(victim)?;
        let process = control_plane.process().id().context("it runs")?;
        let (_, used) = disk::log_file(control_plane.work_dir())?;
        // What it says last must find room, and goes to a file as well.
        control_plane.process().clear_log()?;
        if let Err(why) = disk::limit_files(process, (used as u64).max(ROOM_FOR_WORDS)) {
            return Ok(Done::Skipped(why));
        }
        clients.write_more(self.writes, "with a full disk").await?;
        let ended = control_plane.process().ended(PATIENCE).await?;
        let said = group.control_plane(victim)?.process().log_tail();
        ensure!(!ended.success() && said.contains("File too large"), "it ended with {ended} and said\n{said}");
        group.start(victim).await?;
        Ok(Done::Yes)
    }

    /// The syncs of a disk fail: the replica ends rather than acknowledge; on a disk that works it comes back.
    async fn fail_disk(&mut self, group: &mut Group, clients: &Clients) -> Result<Done> {
        let victim = self.victim(group, false).await?;
        let failing = match tampered(group, victim, disk::FAILED_SYNC).await? {
            Ok(failing) => failing,
            Err(why) => return Ok(Done::Skipped(why)),
        };
        clients.write_more(self.writes, "with a failing disk").await?;
        let ended = group.control_plane(victim)?.process().ended(PATIENCE).await?;
        failing.detach().await?;
        let said = group.control_plane(victim)?.process().log_tail();
        ensure!(!ended.success() && said.contains("Input/output error"), "it ended with {ended} and said\n{said}");
        group.start(victim).await?;
        Ok(Done::Yes)
    }

    /// A replica must refuse a damaged disk and say so; it is removed, and a new one takes its place.
    async fn damage(&mut self, group: &mut Group, clients: &Clients, fault: Fault) -> Result<()> {
        let victim = self.victim(group, false).await?;
        group.kill(victim).await?;
        let folder = group.control_plane(victim)?.work_dir().to_owned();
        if fault == Fault::DamagedLog {
            disk::damage_log(&folder, &mut self.rng)?;
        } else {
            for file in disk::snapshot_files(&folder)? {
                disk::flip(&file, &mut self.rng)?;
            }
        }
        group.start(victim).await?;
        let ended = group.control_plane(victim)?.process().ended(PATIENCE).await?;
        let said = group.control_plane(victim)?.process().log_tail();
        if ended.success() || !said.contains("is corrupted") {
            bail!("{fault:?}: it ended with {ended} and said\n{said}");
        }
        clients.write_more(self.writes, "without the damaged replica").await?;
        group.change("remove", victim).await?;
        group.forget(victim)?;
        group.join().await?;
        Ok(())
    }
}

/// Tampers with the system calls of a replica from now on, or says why that is not possible here.
async fn tampered(group: &mut Group, victim: Place, how: &str) -> Result<Result<disk::Tampered, String>> {
    let process = group.control_plane(victim)?.process().id().context("it runs")?;
    Ok(disk::Tampered::attach(process, how).await)
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
            group.cut(other, leader)?;
        }
        if from_leader {
            group.cut(leader, other)?;
        }
    }
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
