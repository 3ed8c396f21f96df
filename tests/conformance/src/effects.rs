//! What operations do to the state.

use model::{Labels, Timestamp};
use store::{GuardFailure, Put, StatusChange, Store, Txn};

use crate::fixture::{commit, config, global, number, number_in, put, refused, secret, stored, text, text_in};

/// A mesh with its defaults is one revision, which is the version of each.
pub async fn all_operations_of_a_transaction_share_one_revision<S: Store>(store: &S) {
    let before = store.snapshot().revision();
    let txn = put(global("m"), number(1)).put(secret("m", "a"), Labels::new(), number(2));
    let committed = commit(store, txn).await;
    assert_eq!(committed.revision.0, before.0 + 1);
    for key in [global("m"), secret("m", "a")] {
        assert_eq!(stored(store, &key).meta.version, committed.revision.0);
    }
    assert_eq!(store.snapshot().revision(), committed.revision);
}

/// All or none.
pub async fn an_operation_that_fails_undoes_the_ones_before_it<S: Store>(store: &S) {
    commit(store, put(global("m"), number(1))).await;
    let txn = put(global("n"), number(1)).delete(global("m")).put_status(config("none"), number(1));
    assert_eq!(refused(store, txn).await, GuardFailure::NoTarget(config("none")));
}

/// Deletion follows owners over any number of levels, in the same revision.
pub async fn deleting_an_owner_deletes_all_that_it_owns<S: Store>(store: &S) {
    let (m, dp, leaf) = (global("m"), secret("m", "dp"), secret("m", "leaf"));
    let txn = put(m.clone(), number(1))
        .put_owned(dp.clone(), Labels::new(), number(2), m.clone())
        .put_owned(leaf.clone(), Labels::new(), number(3), dp.clone())
        .put(secret("m", "free"), Labels::new(), number(4));
    commit(store, txn).await;
    let committed = commit(store, Txn::new().delete(m.clone())).await;
    let gone: Vec<_> = committed.batch.changes.iter().filter(|c| c.after.is_none()).map(|c| c.key.clone()).collect();
    let mut expected = vec![m, dp, leaf];
    expected.sort();
    assert_eq!(gone, expected);
    assert_eq!(store.snapshot().len(), 1);
}

/// An owner may be created in the same transaction, before; it never changes.
pub async fn an_owner_must_exist_and_is_set_at_creation_only<S: Store>(store: &S) {
    let orphan = Txn::new().put_owned(secret("m", "a"), Labels::new(), number(1), global("none"));
    assert_eq!(refused(store, orphan).await, GuardFailure::NoTarget(global("none")));
    let (m, n, a) = (global("m"), global("n"), secret("m", "a"));
    let txn = put(m.clone(), number(1)).put(n.clone(), Labels::new(), number(1));
    commit(store, txn.put_owned(a.clone(), Labels::new(), number(1), m.clone())).await;
    commit(store, Txn::new().put_owned(a.clone(), Labels::new(), number(2), n.clone())).await;
    assert_eq!(stored(store, &a).meta.owner, Some(m));
    commit(store, Txn::new().delete(n)).await;
    stored(store, &a);
}

/// Replacing keeps what only the store knows.
pub async fn a_put_keeps_creation_time_and_status<S: Store>(store: &S) {
    let key = config("c");
    let created = commit(store, put(key.clone(), number(1)).put_status(key.clone(), text("well"))).await;
    let before = stored(store, &key);
    let labels = Labels::from([("a".to_owned(), "b".to_owned())]);
    let replaced = commit(store, Txn::new().put(key.clone(), labels.clone(), number(2))).await;
    let after = stored(store, &key);
    assert_eq!(after.meta.creation_time, created.batch.at);
    assert_eq!(after.meta.modification_time, replaced.batch.at);
    assert_eq!(after.meta.labels, labels);
    assert_eq!(after.status, before.status);
    assert_eq!(number_in(&after.spec), 2);
}

/// The spec stays; the version moves, because the resource was written.
pub async fn a_status_put_changes_the_status_only<S: Store>(store: &S) {
    let key = config("c");
    commit(store, put(key.clone(), number(1))).await;
    let before = stored(store, &key);
    let committed = commit(store, Txn::new().put_status(key.clone(), text("well"))).await;
    let after = stored(store, &key);
    assert_eq!((after.spec.clone(), after.status.clone()), (before.spec.clone(), Some(text("well"))));
    assert_eq!(after.meta.version, committed.revision.0);
    assert_eq!(after.meta.creation_time, before.meta.creation_time);
}

/// A status needs its resource.
pub async fn a_status_of_nothing_is_refused<S: Store>(store: &S) {
    let failure = refused(store, Txn::new().put_status(config("none"), text("well"))).await;
    assert_eq!(failure, GuardFailure::NoTarget(config("none")));
}

/// A synchronised copy keeps its origin's times and brings its status.
pub async fn times_of_a_copy_are_kept<S: Store>(store: &S) {
    let at = |second| Timestamp::new(second, 7).expect("a time");
    let copy = |modified| Put {
        key: config("c"),
        labels: Labels::new(),
        spec: number(1),
        status: StatusChange::Set(text("well")),
        owner: None,
        times: Some((at(10), at(modified))),
    };
    commit(store, Txn::new().put_with(copy(20))).await;
    commit(store, Txn::new().put_with(copy(30))).await;
    let stored = stored(store, &config("c"));
    assert_eq!((stored.meta.creation_time, stored.meta.modification_time), (at(10), at(30)));
    assert_eq!(stored.status, Some(text("well")));
}

/// A delete is idempotent.
pub async fn deleting_nothing_is_no_error<S: Store>(store: &S) {
    let committed = commit(store, Txn::new().delete(global("none"))).await;
    assert!(committed.batch.changes.is_empty());
}

/// Well beyond any page, part or chunk size of a disk format.
pub async fn a_large_resource_is_kept_whole<S: Store>(store: &S) {
    let large = text(&"0123456789abcdef".repeat(100_000));
    commit(store, put(config("large"), large.clone())).await;
    assert_eq!(text_in(&stored(store, &config("large")).spec), text_in(&large));
}
