//! What every backend of [`store::Store`] must do: one suite, run for each.
//!
//! A backend's test file says `store_conformance::suite!(open)`, where `open` is an `async fn` that
//! gives an empty store and whatever must outlive it (a temporary directory), and gets one test
//! a rule. [`history::agrees_with_the_model`] runs random histories against a model of 50 lines.

pub mod concurrency;
pub mod effects;
pub mod feed;
pub mod fixture;
pub mod guards;
pub mod history;
pub mod model;
pub mod paging;

/// One test for each rule, against the stores that `$open` gives.
#[macro_export]
macro_rules! suite {
    ($open:ident) => {
        $crate::suite!(@tests $open, guards:
            failed_guard_writes_nothing,
            each_guard_says_why_it_failed,
            term_guard_fences_former_leaders,
            guards_are_checked_before_any_operation,
        );
        $crate::suite!(@tests $open, effects:
            all_operations_of_a_transaction_share_one_revision,
            an_operation_that_fails_undoes_the_ones_before_it,
            deleting_an_owner_deletes_all_that_it_owns,
            an_owner_must_exist_and_is_set_at_creation_only,
            a_put_keeps_creation_time_and_status,
            a_status_put_changes_the_status_only,
            a_status_of_nothing_is_refused,
            times_of_a_copy_are_kept,
            deleting_nothing_is_no_error,
            a_large_resource_is_kept_whole,
        );
        $crate::suite!(@tests $open, feed:
            a_reader_from_the_start_sees_every_revision_once,
            a_reader_without_cursor_gets_a_snapshot_first,
            a_reader_ahead_of_the_store_gets_a_snapshot,
            a_reader_too_far_behind_gets_a_snapshot_and_goes_on,
            a_filter_lets_only_its_kinds_through,
            a_change_shows_before_and_after,
            a_reader_wakes_for_a_write,
            a_commit_is_visible_when_it_returns,
        );
        $crate::suite!(@tests $open, concurrency:
            optimistic_locks_lose_no_increment,
            of_many_creators_one_wins,
            concurrent_writers_make_one_gapless_feed,
            the_only_replica_leads,
        );
        $crate::suite!(@tests $open, paging:
            pages_cover_the_list_in_order,
            lists_are_by_mesh_and_filter,
        );
    };
    (@tests $open:ident, $module:ident: $($rule:ident,)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $rule() {
                    let (store, _guard) = super::$open().await;
                    $crate::$module::$rule(&store).await;
                }
            )*
        }
    };
}
