//! Many writers at once.

use std::collections::BTreeSet;

use store::{CommitError, Event, GuardFailure, KindFilter, Store, Txn};

use crate::fixture::{commit, config, number, number_in, put, stored};

const WRITERS: usize = 8;

/// Read, add one, write if unchanged.
pub async fn optimistic_locks_lose_no_increment<S: Store>(store: &S) {
    commit(store, put(config("counter"), number(0))).await;
    let writer = || async {
        let mut done = 0;
        while done < 25 {
            let read = stored(store, &config("counter"));
            let txn = put(config("counter"), number(number_in(&read.spec) + 1))
                .require_version(config("counter"), read.meta.version);
            match store.commit(txn).await {
                Ok(_) => done += 1,
                Err(CommitError::Guard(GuardFailure::Version { .. })) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    futures::future::join_all((0..WRITERS).map(|_| writer())).await;
    assert_eq!(number_in(&stored(store, &config("counter")).spec), 25 * WRITERS as u64);
}

/// The others learn that it exists.
pub async fn of_many_creators_one_wins<S: Store>(store: &S) {
    let create = |n| store.commit(put(config("c"), number(n)).require_absent(config("c")));
    let results = futures::future::join_all((0..WRITERS as u64).map(create)).await;
    let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    let [winner] = &won[..] else { panic!("{} creators won", won.len()) };
    assert_eq!(stored(store, &config("c")).meta.version, winner.revision.0);
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(matches!(error, CommitError::Guard(GuardFailure::Exists(_))), "{error}");
    }
}

/// Each revision belongs to one writer, and the feed tells the same.
pub async fn concurrent_writers_make_one_gapless_feed<S: Store>(store: &S) {
    let from = store.snapshot().revision();
    let mut watch = store.watch(Some(from), KindFilter::All);
    let writer = |writer: usize| async move {
        let mut revisions = Vec::new();
        for n in 0..20 {
            revisions.push(commit(store, put(config(&format!("{writer}-{n}")), number(n))).await.revision);
        }
        assert!(revisions.is_sorted());
        revisions
    };
    let written = futures::future::join_all((0..WRITERS).map(writer)).await.concat();
    let unique: BTreeSet<_> = written.iter().copied().collect();
    assert_eq!(unique.len(), written.len());
    for expected in unique {
        match watch.next().await {
            Some(Event::Batch(batch)) => assert_eq!(batch.revision, expected),
            other => panic!("expected batch {expected}, got {other:?}"),
        }
    }
}

/// With a term that fences.
pub async fn the_only_replica_leads<S: Store>(store: &S) {
    let leadership = *store.leadership().borrow();
    assert!(leadership.leads && leadership.term > 0, "{leadership:?}");
    commit(store, Txn::new().require_term(leadership.term).delete(config("none"))).await;
}
