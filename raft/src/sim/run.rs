//! One run: clients write and read while things fail; then everything heals and must converge.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use model::{Key, Labels, Spec, registry};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use store::Txn;

use super::faults;
use super::group::{Group, PLACES};
use super::panics;

/// A bug that the run puts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A sync returns without having synced.
    NoSync,
    /// A consistent read shows what is there, without asking the leader.
    StaleRead,
    /// The feed leaves out a batch now and then.
    LostFeedEntry,
}

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) acknowledged: usize,
    pub(crate) snapshots_sent: usize,
    /// Of all that clients and readers were told.
    #[cfg_attr(not(tokio_unstable), expect(dead_code, reason = "equal only where all dice are seeded"))]
    pub(crate) digest: u64,
    pub(crate) violations: Vec<String>,
}

const ROUNDS: usize = 40;
const CLIENTS: u64 = 4;

/// How long, in virtual time, a healed group may take to converge.
const CONVERGENCE: Duration = Duration::from_secs(60);

/// Runs one seed. A panic of a replica is a violation.
pub(crate) fn run(seed: u64, bug: Option<Bug>) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = builder.enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime can be built");
    let (mut outcome, panics) = panics::caught(|| runtime.block_on(simulate(seed, bug)));
    outcome.violations.extend(panics);
    outcome
}

async fn simulate(seed: u64, bug: Option<Bug>) -> Outcome {
    let mut rng = StdRng::seed_from_u64(seed);
    let group = Group::new(rng.random(), bug);
    group.start_all(&mut rng).await;
    group.found().await;
    let (stop, values) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(client(group.clone(), rng.random(), Arc::clone(&stop), Arc::clone(&values))))
        .collect();
    for _ in 0..ROUNDS {
        faults::fail(&group, &mut rng).await;
        tokio::time::sleep(Duration::from_millis(rng.random_range(10..900))).await;
    }
    if tokio::time::timeout(CONVERGENCE, heal(&group, &values, &mut rng)).await.is_err() {
        let described = group.described();
        group.oracle().violated(format!("healed group does not converge:\n{described}"));
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        drop(client.await);
    }
    let settled = tokio::time::timeout(CONVERGENCE, async {
        while group.states().windows(2).any(|pair| pair[0].1 != pair[1].1) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let settled = settled.await.is_ok();
    let states = group.states();
    let mut oracle = group.oracle();
    if settled {
        oracle.converged(&states);
    } else {
        oracle.violated("replicas stay apart without writers".to_owned());
    }
    Outcome {
        acknowledged: oracle.acknowledged(),
        snapshots_sent: group.network.snapshots_sent(),
        digest: oracle.digest(),
        violations: std::mem::take(&mut oracle.violations),
    }
}

async fn client(group: Group, seed: u64, stop: Arc<AtomicBool>, values: Arc<AtomicU64>) {
    let mut rng = StdRng::seed_from_u64(seed);
    while !stop.load(Ordering::Relaxed) {
        let at = rng.random_range(0..PLACES);
        if rng.random_range(0..3) == 0 {
            group.read(at).await;
        } else {
            let (name, guarded) = (rng.random_range(0..4u8), rng.random::<bool>());
            write(&group, at, name, guarded, &values).await;
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(1..60))).await;
    }
}

async fn write(group: &Group, at: usize, name: u8, guarded: bool, values: &AtomicU64) -> bool {
    let value = values.fetch_add(1, Ordering::Relaxed);
    let key = Key::global(registry::CONFIG, &format!("c{name}"));
    let spec = Spec::of(serde_json::json!({ "config": format!("{value:08}") })).expect("JSON");
    let txn = |state: &store::State| {
        let txn = Txn::new().put(key.clone(), Labels::new(), spec);
        match state.get(&key) {
            Some(known) if guarded => (txn.require_version(key, known.meta.version), Some(known.meta.version)),
            _ => (txn, None),
        }
    };
    group.write(at, value, txn).await
}

/// Everything comes back: the change of the group that is under way ends, somebody leads, and takes
/// a write.
async fn heal(group: &Group, values: &AtomicU64, rng: &mut StdRng) {
    group.network.heal();
    loop {
        (0..PLACES).for_each(|at| group.at(at).disk.slow(false));
        group.start_all(rng).await;
        let is_written = write(group, rng.random_range(0..PLACES), 9, false, values).await;
        if is_written && group.change.try_lock().is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
