//! The change feed: gapless, ordered, and never waiting for its readers.

use std::time::Duration;

use model::registry;
use store::{ChangeBatch, Event, KindFilter, Revision, Store, Txn, Watch};

use crate::fixture::{commit, config, global, number, number_in, put};

/// More batches than any backend remembers.
const FAR: u64 = 5000;

async fn next(watch: &mut Watch) -> Event {
    match tokio::time::timeout(Duration::from_secs(60), watch.next()).await {
        Ok(Some(event)) => event,
        other => panic!("expected an event, got {other:?}"),
    }
}

async fn batch(watch: &mut Watch) -> std::sync::Arc<ChangeBatch> {
    match next(watch).await {
        Event::Batch(batch) => batch,
        Event::Snapshot(snapshot) => panic!("expected a batch, got the snapshot {snapshot:?}"),
    }
}

async fn snapshot(watch: &mut Watch) -> store::Snapshot {
    match next(watch).await {
        Event::Snapshot(snapshot) => snapshot,
        Event::Batch(batch) => panic!("expected a snapshot, got batch {}", batch.revision),
    }
}

/// Before and during the writes.
pub async fn a_reader_from_the_start_sees_every_revision_once<S: Store>(store: &S) {
    let from = store.snapshot().revision();
    let mut early = store.watch(Some(from), KindFilter::All);
    for n in 1..=50 {
        commit(store, put(config(&n.to_string()), number(n))).await;
    }
    let mut late = store.watch(Some(from), KindFilter::All);
    for n in 1..=50 {
        assert_eq!(batch(&mut early).await.revision, Revision(from.0 + n));
        assert_eq!(batch(&mut late).await.revision, Revision(from.0 + n));
    }
}

/// Then the changes after it.
pub async fn a_reader_without_cursor_gets_a_snapshot_first<S: Store>(store: &S) {
    commit(store, put(global("a"), number(1))).await;
    let mut watch = store.watch(None, KindFilter::All);
    let seen = snapshot(&mut watch).await;
    assert!(seen.get(&global("a")).is_some());
    let committed = commit(store, put(global("b"), number(1))).await;
    assert_eq!(*batch(&mut watch).await, *committed.batch);
}

/// A cursor of another life of the store is not trusted.
pub async fn a_reader_ahead_of_the_store_gets_a_snapshot<S: Store>(store: &S) {
    let now = commit(store, put(global("a"), number(1))).await.revision;
    let mut watch = store.watch(Some(Revision(now.0 + 1000)), KindFilter::All);
    assert_eq!(snapshot(&mut watch).await.revision(), now);
    let committed = commit(store, put(global("b"), number(1))).await;
    assert_eq!(batch(&mut watch).await.revision, committed.revision);
}

/// The store does not remember for ever, and does not wait for slow readers.
pub async fn a_reader_too_far_behind_gets_a_snapshot_and_goes_on<S: Store>(store: &S) {
    let from = store.snapshot().revision();
    let mut slow = store.watch(Some(from), KindFilter::All);
    let writes = (0..FAR).map(|n| store.commit(put(config(&(n % 10).to_string()), number(n))));
    for written in futures::future::join_all(writes).await {
        written.expect("no guard, no failure");
    }
    assert_eq!(snapshot(&mut slow).await.revision().0, from.0 + FAR);
    let committed = commit(store, put(global("b"), number(1))).await;
    assert_eq!(batch(&mut slow).await.revision, committed.revision);
}

/// Batches without them are skipped, the others are whole.
pub async fn a_filter_lets_only_its_kinds_through<S: Store>(store: &S) {
    let from = store.snapshot().revision();
    let mut meshes = store.watch(Some(from), KindFilter::Only(vec![registry::GLOBAL_SECRET]));
    commit(store, put(config("a"), number(1))).await;
    let first = commit(store, put(config("b"), number(1)).put(global("m"), Default::default(), number(1))).await;
    commit(store, put(config("c"), number(1))).await;
    let second = commit(store, Txn::new().delete(global("m"))).await;
    assert_eq!(*batch(&mut meshes).await, *first.batch);
    assert_eq!(*batch(&mut meshes).await, *second.batch);
}

/// Each resource once a batch, with what it was before the transaction.
pub async fn a_change_shows_before_and_after<S: Store>(store: &S) {
    commit(store, put(global("a"), number(1))).await;
    let txn = put(global("a"), number(2)).put(global("a"), Default::default(), number(3));
    let committed = commit(store, txn.put(global("b"), Default::default(), number(1)).delete(global("b"))).await;
    let [change] = &committed.batch.changes[..] else { panic!("{:?}", committed.batch.changes) };
    assert_eq!(change.before.as_ref().map(|r| number_in(&r.spec)), Some(1));
    assert_eq!(change.after.as_ref().map(|r| number_in(&r.spec)), Some(3));
}

/// A reader that waits already.
pub async fn a_reader_wakes_for_a_write<S: Store>(store: &S) {
    let mut watch = store.watch(Some(store.snapshot().revision()), KindFilter::All);
    let (event, committed) = tokio::join!(batch(&mut watch), commit(store, put(global("a"), number(1))));
    assert_eq!(*event, *committed.batch);
}

/// In the snapshot, in a consistent read, and in the feed.
pub async fn a_commit_is_visible_when_it_returns<S: Store>(store: &S) {
    for n in 0..20 {
        let committed = commit(store, put(config("c"), number(n))).await;
        assert!(store.snapshot().revision() >= committed.revision);
        let read = store.consistent().await.expect("the store serves");
        assert!(read.revision() >= committed.revision);
        assert_eq!(read.get(&config("c")).map(|r| number_in(&r.spec)), Some(n));
    }
}
