//! One run: clients write and read while things fail; then everything heals and must converge.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use model::{Key, Labels, Spec, registry};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use store::Txn;

use super::group::Group;

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
    pub(crate) violations: Vec<String>,
}

const ROUNDS: usize = 40;
const CLIENTS: u64 = 4;

/// How long, in virtual time, a healed group may take to converge.
const CONVERGENCE: Duration = Duration::from_secs(60);

/// Runs one seed.
pub(crate) fn run(seed: u64, bug: Option<Bug>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime can be built").block_on(simulate(seed, bug))
}

async fn simulate(seed: u64, bug: Option<Bug>) -> Outcome {
    let mut rng = StdRng::seed_from_u64(seed);
    let group = Group::new(rng.random(), bug);
    for at in 0..group.len() {
        group.start(at, rng.random()).await.expect("a new machine starts");
    }
    group.found().await;
    let (stop, values) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(client(group.clone(), rng.random(), Arc::clone(&stop), Arc::clone(&values))))
        .collect();
    for _ in 0..ROUNDS {
        fail(&group, &mut rng).await;
        tokio::time::sleep(Duration::from_millis(rng.random_range(10..900))).await;
    }
    group.network.heal();
    for at in 0..group.len() {
        if !group.is_running(at) {
            start(&group, at, &mut rng).await;
        }
    }
    if tokio::time::timeout(CONVERGENCE, converge(&group, &values)).await.is_err() {
        let states: Vec<_> = group.states().into_iter().map(|(id, revision, _)| (id, revision)).collect();
        group.oracle().violations.push(format!("healed group does not converge: {states:?}"));
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
        oracle.violations.push("replicas stay apart without writers".to_owned());
    }
    Outcome { acknowledged: oracle.acknowledged(), violations: std::mem::take(&mut oracle.violations) }
}

async fn start(group: &Group, at: usize, rng: &mut StdRng) {
    if let Err(error) = group.start(at, rng.random()).await {
        group.oracle().violations.push(format!("machine {at} does not start: {error}"));
    }
}

/// One fault, or the end of one.
async fn fail(group: &Group, rng: &mut StdRng) {
    let at = rng.random_range(0..group.len());
    let (one, other) = (rng.random_range(1..=3), rng.random_range(1..=3));
    match rng.random_range(0..10) {
        0..=2 if group.is_running(at) => group.kill(at, rng).await,
        0..=3 => {
            for at in 0..group.len() {
                if !group.is_running(at) {
                    start(group, at, rng).await;
                }
            }
        }
        4 => group.network.cut(one, other),
        5 => {
            for peer in 1..=3 {
                group.network.cut(one, peer);
                group.network.cut(peer, one);
            }
        }
        6 => group.network.lose(rng.random_range(0..40)),
        // Everything at once.
        7 => {
            for at in 0..group.len() {
                group.kill(at, rng).await;
            }
            for at in 0..group.len() {
                start(group, at, rng).await;
            }
        }
        _ => group.network.heal(),
    }
}

async fn client(group: Group, seed: u64, stop: Arc<AtomicBool>, values: Arc<AtomicU64>) {
    let mut rng = StdRng::seed_from_u64(seed);
    while !stop.load(Ordering::Relaxed) {
        let at = rng.random_range(0..group.len());
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
            Some(known) if guarded => txn.require_version(key, known.meta.version),
            _ => txn,
        }
    };
    group.write(at, value, txn).await
}

/// Somebody leads again and takes a write.
async fn converge(group: &Group, values: &AtomicU64) {
    loop {
        for at in 0..group.len() {
            if write(group, at, 9, false, values).await {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
