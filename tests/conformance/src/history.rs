//! Random histories: the store does what the model does, and its feed tells the same story.

use std::collections::BTreeMap;

use model::{Key, Labels, Resource};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use store::{CommitError, Event, KindFilter, Put, Snapshot, StatusChange, Store, Txn};

use crate::fixture::{canonical, config, global, number, secret};
use crate::model::{Entry, Model};

/// A guard or operation of a random transaction, before versions are known.
#[derive(Clone, Debug)]
enum Step {
    Absent(Key),
    Present(Key),
    /// At the version that the model has, or one beside it.
    Version(Key, bool),
    Put(Key, u64, Option<Key>, bool),
    Status(Key, u64),
    Delete(Key),
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        (0..2u8).prop_map(|n| global(&format!("m{n}"))),
        (0..2u8, 0..2u8).prop_map(|(m, n)| secret(&format!("m{m}"), &format!("d{n}"))),
        (0..3u8).prop_map(|n| config(&format!("c{n}"))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => key().prop_map(Step::Absent),
        1 => key().prop_map(Step::Present),
        2 => (key(), any::<bool>()).prop_map(|(key, hit)| Step::Version(key, hit)),
        8 => (key(), 0..9u64, prop::option::of(key()), any::<bool>())
            .prop_map(|(key, value, owner, status)| Step::Put(key, value, owner, status)),
        2 => (key(), 0..9u64).prop_map(|(key, value)| Step::Status(key, value)),
        3 => key().prop_map(Step::Delete),
    ]
}

/// Transactions of one to four steps.
fn history() -> impl Strategy<Value = Vec<Vec<Step>>> {
    prop::collection::vec(prop::collection::vec(step(), 1..5), 1..120)
}

fn txn(steps: &[Step], model: &Model) -> Txn {
    steps.iter().cloned().fold(Txn::new(), |txn, step| match step {
        Step::Absent(key) => txn.require_absent(key),
        Step::Present(key) => txn.require_present(key),
        Step::Version(key, hit) => {
            let known = model.entries.get(&key).map_or(0, |e| e.version);
            txn.require_version(key, known + u64::from(!hit))
        }
        Step::Put(key, value, owner, status) => {
            let status = if status { StatusChange::Set(number(value)) } else { StatusChange::Keep };
            let owner = owner.filter(|owner| *owner != key);
            txn.put_with(Put { key, labels: Labels::new(), spec: number(value), status, owner, times: None })
        }
        Step::Status(key, value) => txn.put_status(key, number(value)),
        Step::Delete(key) => txn.delete(key),
    })
}

fn entries<'a>(resources: impl Iterator<Item = &'a std::sync::Arc<Resource>>) -> BTreeMap<Key, Entry> {
    resources.map(|r| (r.key.clone(), entry(r))).collect()
}

fn entry(r: &Resource) -> Entry {
    Entry { version: r.meta.version, spec: r.spec.clone(), status: r.status.clone(), owner: r.meta.owner.clone() }
}

/// Runs `cases` random histories, each on a store of its own.
///
/// # Panics
/// When store and model part ways; proptest prints the shortest history that it finds.
pub fn agrees_with_the_model<S, G, F>(cases: u32, open: impl Fn() -> F)
where
    S: Store,
    F: Future<Output = (S, G)>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let result = TestRunner::new(config).run(&history(), |history| {
        runtime.block_on(async {
            let (store, _guard) = open().await;
            run(&store, &history).await;
        });
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

async fn run<S: Store>(store: &S, history: &[Vec<Step>]) {
    let term = store.leadership().borrow().term;
    let start = store.snapshot();
    let mut model = Model { revision: start.revision().0, entries: entries(start.iter()) };
    for steps in history {
        let txn = canonical(txn(steps, &model));
        let expected = model.apply(&txn, term);
        let result = store.commit(txn.clone()).await;
        match (&result, expected) {
            (Ok(committed), true) => assert_eq!(committed.revision.0, model.revision),
            (Err(CommitError::Guard(_)), false) => {}
            _ => panic!("model says {expected}, store says {result:?} to {txn:?}"),
        }
        let state = store.snapshot();
        assert_eq!(state.revision().0, model.revision);
        assert_eq!(entries(state.iter()), model.entries, "after {txn:?}");
        assert_counts(&state);
    }
    assert_eq!(folded(store, &start).await, model.entries);
}

/// The state again, from nothing but the feed.
async fn folded<S: Store>(store: &S, start: &Snapshot) -> BTreeMap<Key, Entry> {
    let mut state = entries(start.iter());
    let target = store.snapshot().revision();
    let mut reached = start.revision();
    let mut watch = store.watch(Some(reached), KindFilter::All);
    while reached < target {
        match watch.next().await {
            Some(Event::Batch(batch)) => {
                assert_eq!(batch.revision.0, reached.0 + 1, "the feed has no gap");
                reached = batch.revision;
                assert!(batch.changes.is_sorted_by(|a, b| a.key < b.key));
                for change in &batch.changes {
                    let before = change.before.as_deref().map(entry);
                    assert_eq!(state.get(&change.key).cloned(), before, "{} before", change.key);
                    match &change.after {
                        Some(after) => state.insert(change.key.clone(), entry(after)),
                        None => state.remove(&change.key),
                    };
                }
            }
            other => panic!("expected a batch after {reached}, got {other:?}"),
        }
    }
    state
}

fn assert_counts(state: &Snapshot) {
    for kind in model::registry::KINDS {
        assert_eq!(state.count(*kind), state.of_kind(*kind).count());
    }
}
