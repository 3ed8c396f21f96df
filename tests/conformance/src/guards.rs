//! Guards: conditions that hold, or nothing happens.

use store::{GuardFailure, Store, Txn};

use crate::fixture::{commit, config, global, number, number_in, put, refused, stored};

/// A failed guard leaves state and revision as they were.
pub async fn failed_guard_writes_nothing<S: Store>(store: &S) {
    commit(store, put(global("a"), number(1))).await;
    let txn = put(global("b"), number(2)).delete(global("a")).require_absent(global("a"));
    refused(store, txn).await;
}

/// Each guard has its own failure, with what was found.
pub async fn each_guard_says_why_it_failed<S: Store>(store: &S) {
    let written = commit(store, put(global("a"), number(1))).await.revision.0;
    let a = global("a");
    let none = global("none");
    assert_eq!(refused(store, Txn::new().require_absent(a.clone())).await, GuardFailure::Exists(a.clone()));
    assert_eq!(refused(store, Txn::new().require_present(none.clone())).await, GuardFailure::Missing(none.clone()));
    assert_eq!(refused(store, Txn::new().require_version(none.clone(), 1)).await, GuardFailure::Missing(none));
    assert_eq!(
        refused(store, Txn::new().require_version(a.clone(), written + 1)).await,
        GuardFailure::Version { key: a.clone(), expected: written + 1, found: written }
    );
    commit(store, put(a.clone(), number(2)).require_version(a.clone(), written).require_present(a)).await;
}

/// A duty of an earlier term cannot write.
pub async fn term_guard_fences_former_leaders<S: Store>(store: &S) {
    let term = store.leadership().borrow().term;
    let failure = refused(store, put(config("c"), number(1)).require_term(term + 1)).await;
    assert_eq!(failure, GuardFailure::Term { expected: term + 1, found: term });
    commit(store, put(config("c"), number(2)).require_term(term)).await;
}

/// A guard sees the state before the transaction, not what its own operations do.
pub async fn guards_are_checked_before_any_operation<S: Store>(store: &S) {
    commit(store, put(global("a"), number(1)).require_absent(global("a"))).await;
    let recreate = Txn::new().require_present(global("a")).delete(global("a"));
    commit(store, recreate.put(global("a"), Default::default(), number(2))).await;
    assert_eq!(number_in(&stored(store, &global("a")).spec), 2);
}
